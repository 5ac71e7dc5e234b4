"""The worker process: reads checkpoints, writes the store, says so on stdout line by line."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import forkmon
from forkmon import wire
from forkmon.errors import Exit, ForkmonError, StoreError, StoreLockedError, StoreNewerError
from forkmon.runs.poll import Poller
from forkmon.runs.wake import Wake
from forkmon.store.writer import Writer
from forkmon.text import safe
from forkmon.worker.backends import KERNEL_VERSION, choose_device, open_engine
from forkmon.worker.mailbox import Mailbox, StopRequestedError
from forkmon.worker.politeness import be_polite
from forkmon.worker.session import Notify, Session, recover
from forkmon.worker.speaker import Speaker

EX_CONFIG = 78
"""Exit code for what a restart cannot mend (sysexits.h)."""

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
        return EX_CONFIG if isinstance(error, StoreNewerError) else Exit.RUNTIME
    finally:
        speaker.close()


def _run(options: argparse.Namespace, say: Notify, mailbox: Mailbox) -> NoReturn:
    with ExitStack() as stack:
        wake = Wake(options.run)
        stack.callback(wake.close)
        mailbox.on_arrival(wake.interrupt)
        # Unbuffered: a thread that waits in a buffered read aborts the process as it exits.
        mailbox.listen(open(sys.stdin.fileno(), "rb", buffering=0, closefd=False))  # noqa: SIM115
        while True:
            _write_until_it_fails(options, say, mailbox, wake)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="forkmon.worker", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--interval", type=float, default=2.0)
    parser.add_argument("--settle", type=float, default=5.0)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--died-of", default="", metavar="SIGNAL")
    return parser.parse_args(argv)


def _take_stdout() -> int:
    """Return a descriptor of stdout, which belongs to the protocol: prints go to stderr instead."""
    fd = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return fd


def _open_writer(options: argparse.Namespace, say: Notify, mailbox: Mailbox, wake: Wake) -> Writer:
    """Return the store's writer; while another forkmon is it, wait to take over."""
    told = ""
    while True:
        try:
            return Writer.open(
                options.store, run=options.run, name=run_name(options.run), kernel=KERNEL_VERSION
            )
        except StoreLockedError as error:
            if str(error) != told:
                told = str(error)
                say(_hello(options, viewer=told))
            wake.wait(LOCK_RETRY_SECONDS)
            mailbox.check()


def run_name(run: Path) -> str:
    """Return what a run is called: its directory's name."""
    return safe(Path(os.path.realpath(run)).name or str(run), 60)


def _hello(options: argparse.Namespace, *, viewer: str = "") -> wire.Hello:
    device = choose_device()
    return wire.Hello(
        pid=os.getpid(),
        version=forkmon.__version__,
        store=safe(options.store, 1000),
        device=device.name,
        why=device.why,
        viewer=viewer,
    )


def _write_until_it_fails(
    options: argparse.Namespace, say: Notify, mailbox: Mailbox, wake: Wake
) -> None:
    """Watch the run until the store fails, on a full disk for instance; then wait a while.

    What was stored is whole; a connection that failed once is not trusted again.
    """
    with _open_writer(options, say, mailbox, wake) as writer:
        if writer.note:
            say(wire.Log(writer.note))
        recover(writer, options.died_of)
        try:
            _watch(options, writer, say, mailbox, wake)
        except StoreError as error:
            say(wire.Log(f"{safe(error)}; trying again in {STORE_RETRY_SECONDS:.0f} s"))
    _pause(STORE_RETRY_SECONDS, mailbox, wake)


def _watch(
    options: argparse.Namespace, writer: Writer, say: Notify, mailbox: Mailbox, wake: Wake
) -> None:
    say(_hello(options))
    session = Session(
        options.run,
        writer,
        Poller(options.run, interval=options.interval, settle=options.settle),
        engine=lambda: open_engine(threads=options.threads),
        device=choose_device(),
        notify=say,
        interrupted=_pulse(writer, mailbox),
    )
    session.refresh()
    while True:
        for command in mailbox.take():
            match command:
                case wire.Rescan():
                    session.retry()
                case wire.Focus(tensor=tensor):
                    session.focus = tensor
                case wire.Stop():
                    raise StopRequestedError
        session.look()
        busy = session.analyse_next()
        writer.beat()
        if not busy:
            wake.wait(options.interval)
        mailbox.check()


def _pulse(writer: Writer, mailbox: Mailbox) -> Callable[[], None]:
    """Return what to do now and then in a long analysis: keep the lock alive, hear a Stop."""
    last = time.monotonic()

    def pulse() -> None:
        nonlocal last
        mailbox.check()
        if time.monotonic() - last > BEAT_SECONDS:
            last = time.monotonic()
            writer.beat()

    return pulse


def _pause(seconds: float, mailbox: Mailbox, wake: Wake) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        wake.wait(left)
        mailbox.check()


if __name__ == "__main__":
    sys.exit(main())
