"""A probe's own process: one job on stdin, one event a line on stdout; closing stdin ends it."""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import cast

GRACE_SECONDS = 2.0
"""How long a probe may take to notice that nobody waits for it any more."""


def main() -> int:
    """Run the job and return the exit code: 2 for a job that makes no sense."""
    line = sys.stdin.readline()
    given = cast("dict[str, object]", json.loads(line))
    _confine(given)
    # Only now: what numpy and its BLAS take counts against the limit, and threads are few.
    from forkmon.errors import UsageError
    from forkmon.probes import outcome, running
    from forkmon.probes.encoding import decode

    gone = threading.Event()
    threading.Thread(target=_watch, args=(gone,), daemon=True).start()
    limits = decode(outcome.Limits, given["limits"])
    refs = cast("list[object]", given["checkpoints"])
    root = given.get("root")
    job = outcome.Job(
        str(given["probe"]),
        cast("dict[str, object]", given["parameters"]),
        tuple(map(outcome.ref_from_json, refs)),
        Path(root) if isinstance(root, str) else None,
    )
    try:
        for _ in running.run(job, limits, _say, cancelled=gone.is_set):
            pass
    except UsageError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def _confine(given: dict[str, object]) -> None:
    """Take the last place in the queues, and no more memory than allowed."""
    limits = cast("dict[str, float]", given["limits"])
    with suppress(OSError):
        os.nice(int(limits["nice"]))
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("900\n", "ascii")
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError, ValueError):
        allowed = int(limits["memory_mb"]) << 20
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))


def _watch(gone: threading.Event) -> None:
    """Wait until stdin ends; then end the probe, politely first."""
    with suppress(OSError, ValueError):
        while sys.stdin.read(1):
            pass
    gone.set()
    threading.Timer(GRACE_SECONDS, os._exit, (130,)).start()


def _say(event: object) -> None:
    from forkmon.probes import outcome

    line = json.dumps(outcome.to_json(cast("outcome.Event", event)), allow_nan=False)
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os._exit(130)  # nobody listens


if __name__ == "__main__":
    sys.exit(main())
