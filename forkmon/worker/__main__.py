"""The worker process: reads checkpoints, writes the store, says so on stdout line by line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import forkmon
from forkmon import config, wire
from forkmon.errors import (
    DeviceLostError,
    Exit,
    ForkmonError,
    StoreError,
    StoreLockedError,
    StoreNewerError,
)
from forkmon.runs.wake import Wake
from forkmon.store.writer import Writer
from forkmon.text import safe
from forkmon.worker.compose import Means, means_of, open_session
from forkmon.worker.mailbox import Mailbox, StopRequestedError
from forkmon.worker.politeness import be_polite
from forkmon.worker.session import Notify, Session, recover
from forkmon.worker.speaker import Speaker
from forkmon.worker.where import KERNEL_VERSION

LOCK_RETRY_SECONDS = 2.0
STORE_RETRY_SECONDS = 10.0
BEAT_SECONDS = 10.0


def main(argv: list[str] | None = None) -> int:
    """Run a worker until it is told to stop, its stdin ends or it is signalled."""
    options = _arguments(argv)
    be_polite()
    mailbox = Mailbox()
    speaker = Speaker(_take_stdout(), mailbox)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, mailbox.on_signal)
    try:
        _run(options, speaker.say, mailbox)
    except StopRequestedError:
        speaker.say(wire.Bye("asked to stop"))
        return Exit.OK
    except ForkmonError as error:
        print(f"forkmon: error: {error}", file=sys.stderr)  # noqa: T201 -- the supervisor keeps it
        return _exit_code(error)
    finally:
        speaker.close()


def _exit_code(error: ForkmonError) -> int:
    if isinstance(error, StoreNewerError):
        return wire.EX_CONFIG
    return wire.EX_DEVICE_LOST if isinstance(error, DeviceLostError) else Exit.RUNTIME


def _run(options: argparse.Namespace, say: Notify, mailbox: Mailbox) -> NoReturn:
    flags = {option.name: getattr(options, option.name, None) for option in config.OPTIONS}
    means, warnings = means_of(config.load(flags, os.environ), why=options.device_why)
    with ExitStack() as stack:
        wake = Wake(options.run)
        stack.callback(wake.close)
        mailbox.on_arrival(wake.interrupt)
        # Unbuffered: a thread that waits in a buffered read aborts the process as it exits.
        mailbox.listen(open(sys.stdin.fileno(), "rb", buffering=0, closefd=False))  # noqa: SIM115
        for warning in warnings:
            say(wire.Log(warning))
        worker = Worker(options.run, options.store, options.died_of, means, say, mailbox, wake)
        while True:
            worker.write_until_the_store_fails()


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="forkmon.worker", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--store", type=Path, required=True)
    for option in config.OPTIONS:
        if isinstance(option.default, float):
            parser.add_argument(f"--{option.name.replace('_', '-')}", type=float)
    parser.add_argument("--device")
    for name in ("--roles", "--preset", "--on-alert", "--webhook"):
        parser.add_argument(name)
    parser.add_argument("--device-why", default="", help="why the CPU, after a GPU was lost")
    parser.add_argument("--died-of", default="", metavar="SIGNAL")
    return parser.parse_args(argv)


def _take_stdout() -> int:
    """Return a descriptor of stdout, which belongs to the protocol: prints go to stderr instead."""
    fd = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return fd


@dataclass(frozen=True, slots=True)
class Worker:
    """One worker process: its run, its store, and whom it talks to."""

    run: Path
    store: Path
    died_of: str
    """Signal that ended the worker before; empty if none did."""
    means: Means
    say: Notify
    mailbox: Mailbox
    wake: Wake

    def write_until_the_store_fails(self) -> None:
        """Watch the run until the store fails, on a full disk for instance; then wait a while.

        What was stored is whole; a connection that failed once is not trusted again.
        """
        with self._open_writer() as writer:
            if writer.note:
                self.say(wire.Log(writer.note))
            recover(writer, self.died_of)
            try:
                self._watch(writer)
            except StoreError as error:
                self.say(wire.Log(f"{safe(error)}; trying again in {STORE_RETRY_SECONDS:.0f} s"))
        self._pause(STORE_RETRY_SECONDS)

    def _open_writer(self) -> Writer:
        """Return the store's writer; while another forkmon is it, wait to take over."""
        told = ""
        name = safe(Path(os.path.realpath(self.run)).name or str(self.run), 60)
        while True:
            try:
                return Writer.open(self.store, run=self.run, name=name, kernel=KERNEL_VERSION)
            except StoreLockedError as error:
                if str(error) != told:
                    told = str(error)
                    self._greet(viewer=told)
                self.wake.wait(LOCK_RETRY_SECONDS)
                self.mailbox.check()

    def _greet(self, *, viewer: str = "") -> None:
        self.say(
            wire.Hello(
                pid=os.getpid(),
                version=forkmon.__version__,
                store=safe(self.store, 1000),
                device=self.means.device.name,
                why=self.means.device.why,
                viewer=viewer,
            )
        )

    def _watch(self, writer: Writer) -> NoReturn:
        self._greet()
        with ExitStack() as stack:
            pulse = self._pulse(writer)
            session = open_session(
                self.run, writer, self.means, stack, notify=self.say, interrupted=pulse
            )
            session.refresh()
            while True:
                session.look()
                self._obey(session)
                busy = session.analyse_next()
                writer.beat()
                if not busy:
                    self.wake.wait(session.interval)
                self.mailbox.check()

    def _obey(self, session: Session) -> None:
        """Do what the UI asked for since the last time."""
        for command in self.mailbox.take():
            match command:
                case wire.Rescan():
                    session.retry()
                case wire.Focus(tensor=tensor):
                    session.focus = tensor
                case wire.Stop():
                    raise StopRequestedError

    def _pulse(self, writer: Writer) -> Callable[[], None]:
        """Return what to do now and then in a long analysis: keep the lock alive, hear a Stop."""
        last = time.monotonic()

        def pulse() -> None:
            nonlocal last
            self.mailbox.check()
            if time.monotonic() - last > BEAT_SECONDS:
                last = time.monotonic()
                writer.beat()

        return pulse

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self.wake.wait(left)
            self.mailbox.check()


if __name__ == "__main__":
    sys.exit(main())
