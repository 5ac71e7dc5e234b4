"""The speaker: in order, and never in the way of the analysis."""

from __future__ import annotations

import os
import threading

from forkmon import wire
from forkmon.worker.speaker import WAITING, Speaker


class Listener:
    """Notes that it was stopped."""

    def __init__(self) -> None:
        self.stopped = threading.Event()

    def stop(self) -> None:
        """Note it."""
        self.stopped.set()


def read_events(fd: int) -> list[wire.Event | wire.Command]:
    """Return every event until the writer's end is closed."""
    with os.fdopen(fd, "rb") as stream:
        return [wire.decode(line) for line in stream]


def test_events_arrive_in_order() -> None:
    """Nothing is lost while somebody reads."""
    reading, writing = os.pipe()
    speaker = Speaker(writing, Listener())
    for step in range(50):
        speaker.say(wire.Stored(step))
    speaker.close()
    os.close(writing)
    assert read_events(reading) == [wire.Stored(step) for step in range(50)]


def test_a_reader_that_stands_still_stops_nobody() -> None:
    """Ten thousand events into a pipe that nobody reads: the newest are kept, none blocks."""
    reading, writing = os.pipe()
    speaker = Speaker(writing, Listener())
    for step in range(10_000):
        speaker.say(wire.Log(f"{step} " + "x" * 200))
    assert len(speaker._events) <= WAITING
    threading.Thread(target=speaker.close).start()
    found: list[wire.Event | wire.Command] = []
    with os.fdopen(reading, "rb") as stream:
        for line in stream:
            found.append(wire.decode(line))
            if isinstance(found[-1], wire.Log) and found[-1].text.startswith("9999 "):
                break
    os.close(writing)
    numbers = [int(e.text.split()[0]) for e in found if isinstance(e, wire.Log)]
    assert numbers == sorted(numbers)


def test_superseded_progress_is_dropped() -> None:
    """Of progress that waits, only the newest is of use."""
    reading, writing = os.pipe()
    speaker = Speaker(writing, Listener())
    with speaker._ready:  # the thread cannot take anything now
        speaker._events.append(wire.Progress(1, 0, 10))
        speaker.say(wire.Progress(1, 5, 10))
        assert list(speaker._events) == [wire.Progress(1, 5, 10)]
    speaker.close()
    os.close(writing)
    assert read_events(reading) == [wire.Progress(1, 5, 10)]


def test_a_reader_that_is_gone_is_noticed() -> None:
    """A broken pipe sets the event; saying more is harmless."""
    reading, writing = os.pipe()
    os.close(reading)
    listener = Listener()
    speaker = Speaker(writing, listener)
    speaker.say(wire.Stored(1))
    assert listener.stopped.wait(10)
    speaker.say(wire.Stored(2))
    speaker.close()
    os.close(writing)
