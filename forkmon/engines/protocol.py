"""What an engine does: move work, never change results."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Protocol

from forkmon.formats.reading import OpenFiles
from forkmon.formats.refs import TensorRef
from forkmon.kernels.protocol import Kernel
from forkmon.stats.summary import Finished


class Engine(Protocol):
    """Runs a kernel over tensors."""

    @property
    def kernel(self) -> Kernel:
        """Return the kernel that it runs."""
        ...

    @property
    def note(self) -> str:
        """Return why the first tensor may take longer; empty where it does not."""
        ...

    def run(
        self, files: OpenFiles, tensors: Sequence[TensorRef]
    ) -> Generator[tuple[TensorRef, Finished]]:
        """Yield each tensor's numbers in the order given; reading errors are raised."""
        ...
