"""Bytes to a device: two pinned buffers in turn, a byte cap, and what to do when it is full.

While the device counts one slice the next one is copied and the one after it is read. Everything
that touches the device goes through `Backend`, so that order and limits are tested without one.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Lock, local
from traceback import clear_frames
from typing import Final, Generic, Protocol, TypeVar

from forkmon.errors import DeviceFullError, DeviceLostError
from forkmon.kernels.choose import Trouble, first_line, trouble
from forkmon.kernels.protocol import Bytes
from forkmon.stats.blocks import BLOCK
from forkmon.stats.parts import SPAN

CAP_BYTES: Final = 512 << 20
"""Device memory taken at most, unless told otherwise; the CUDA context itself comes on top."""

FLOOR_BYTES: Final = 512 << 20
"""Free device memory that is left to others; below it forkmon is the one that yields."""

SLOTS: Final = 2

WORK_BYTES: Final = 96
"""Bytes of intermediates an element, at most (float64: values, powers, indices of the sketch)."""

ITEM_BYTES: Final = 8
"""Of the widest element."""

BufferT = TypeVar("BufferT")
EventT = TypeVar("EventT")
ViewT = TypeVar("ViewT", covariant=True)  # noqa: PLC0105 -- named as its siblings


class Backend(Protocol[BufferT, EventT, ViewT]):
    """What an uploader needs of a device's library."""

    device: str

    def free_bytes(self) -> int:
        """Return the bytes that nobody uses on the device."""
        ...

    def allocate(self, size: int) -> BufferT:
        """Return a pinned buffer on the host and one on the device, `size` bytes each."""
        ...

    def copy(self, data: Bytes, buffer: BufferT) -> EventT:
        """Put the data into the pinned buffer and begin its copy; return the copy's end."""
        ...

    def computing(self) -> AbstractContextManager[None]:
        """Return a context in which work goes to the stream of the kernels."""
        ...

    def follow(self, event: EventT) -> None:
        """Make the kernels' stream wait for an event; the host does not."""
        ...

    def mark(self) -> EventT:
        """Return the end of what the kernels' stream has been given so far."""
        ...

    def wait(self, event: EventT) -> None:
        """Let the host wait for an event."""
        ...

    def view(self, buffer: BufferT, size: int) -> ViewT:
        """Return the first bytes of the device's buffer."""
        ...

    def hand_back(self) -> None:
        """Return cached memory to the device, when all its work is done."""
        ...


@dataclass(slots=True)
class _Slot(Generic[BufferT, EventT]):
    """A pair of buffers, and the end of the last work on them."""

    size: int = 0
    buffer: BufferT | None = None
    counted: EventT | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """How a byte cap is spent."""

    cap: int = CAP_BYTES
    floor: int = FLOOR_BYTES

    def slice_elements(self) -> int:
        """Return how many elements to bring at once, so that all buffers stay under the cap."""
        # A quarter is left for tables, column sums and what the allocator rounds up.
        most = self.cap * 3 // 4 // (WORK_BYTES + SLOTS * ITEM_BYTES)
        return max(1, min(most, SPAN) // BLOCK) * BLOCK


@dataclass(slots=True)
class Uploader(Generic[BufferT, EventT, ViewT]):
    """Brings slices to a device for the threads of one process (a `Loader` of the torch kernel)."""

    backend: Backend[BufferT, EventT, ViewT]
    budget: Budget = field(default_factory=Budget)
    slice_elements: int = field(init=False)
    device: str = field(init=False)
    _shrunk: bool = field(init=False, default=False)
    _own: local = field(init=False, default_factory=local)
    _compute: Lock = field(init=False, default_factory=Lock)
    _room: Lock = field(init=False, default_factory=Lock)
    _slots: SimpleQueue[_Slot[BufferT, EventT]] = field(init=False)

    def __post_init__(self) -> None:
        """Take no memory yet: buffers come with the first slice."""
        self.slice_elements = self.budget.slice_elements()
        self.device = self.backend.device
        self._slots = SimpleQueue()
        for _ in range(SLOTS):
            self._slots.put(_Slot())

    @contextmanager
    def load(self, data: Bytes) -> Generator[ViewT]:
        """Bring bytes to the device; kernels launched inside the context see them.

        The copy begins before the turn of this thread to compute: it overlaps with the work of
        the slice before, and the caller's next reading overlaps with both.
        """
        slot = self._slots.get()
        self._own.elements = self.slice_elements
        try:
            copied = slot.counted = self._fill(slot, data)
            with self.computing():
                self.backend.follow(copied)
                assert slot.buffer is not None  # noqa: S101 -- `_fill` made it
                yield self.backend.view(slot.buffer, len(data))
                slot.counted = self.backend.mark()
        finally:
            self._slots.put(slot)

    @contextmanager
    def computing(self) -> Generator[None]:
        """Let one thread at a time give work to the device: the cap is for all of them."""
        with self._compute, self.backend.computing():
            yield

    def recover(self, error: Exception) -> None:
        """Halve the slices the first time memory runs out; later give up; never retry a loss."""
        match trouble(error):
            case Trouble.FULL:
                self._shrink(error)
            case Trouble.LOST:
                raise DeviceLostError(f"{self.device} was lost: {first_line(error)}") from error
            case _:
                raise error

    def release(self) -> None:
        """Hand device memory back: nothing is to be counted for a while."""
        with self._compute:
            idle: list[_Slot[BufferT, EventT]] = []
            with suppress(Empty):
                while True:
                    idle.append(self._slots.get_nowait())
            for slot in idle:
                self._empty(slot)
                self._slots.put(slot)
            self.backend.hand_back()

    def _fill(self, slot: _Slot[BufferT, EventT], data: Bytes) -> EventT:
        """Copy data into a slot whose earlier bytes have been counted."""
        self._check_room()
        if slot.counted is not None:
            self.backend.wait(slot.counted)
            slot.counted = None
        if slot.buffer is None or slot.size < len(data):
            slot.buffer = None  # given back before the larger one is taken
            slot.buffer = self.backend.allocate(len(data))
            slot.size = len(data)
        return self.backend.copy(data, slot.buffer)

    def _empty(self, slot: _Slot[BufferT, EventT]) -> None:
        if slot.counted is not None:
            self.backend.wait(slot.counted)
        slot.counted, slot.buffer, slot.size = None, None, 0

    def _check_room(self) -> None:
        """Raise DeviceFullError when others need the device's memory."""
        free = self.backend.free_bytes()
        if free < self.budget.floor:
            raise DeviceFullError(
                f"only {free >> 20:,} MiB are free on {self.device}: they are left to others"
            )

    def _shrink(self, error: Exception) -> None:
        clear_frames(error.__traceback__)  # they hold the intermediates that filled the device
        with self._room:
            if getattr(self._own, "elements", 0) > self.slice_elements:
                return  # another thread made room meanwhile
            if self._shrunk or self.slice_elements <= BLOCK:
                reason = f"{self.device} is out of memory even for small chunks"
                raise DeviceFullError(reason) from error
            self._shrunk = True
            self.slice_elements = max(1, self.slice_elements // 2 // BLOCK) * BLOCK
        self.release()
