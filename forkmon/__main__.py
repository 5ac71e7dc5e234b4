"""Run `python -m forkmon` as the `forkmon` command."""

import sys

from forkmon.cli import main

sys.exit(main())
