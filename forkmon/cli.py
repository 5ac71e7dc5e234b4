"""argv -> one command: `forkmon PATH` opens the TUI, words name the other commands."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from forkmon import __version__
from forkmon.errors import DeviceLostError, Exit, ForkmonError, UsageError
from forkmon.text import safe

Run = Callable[[argparse.Namespace], int]

_AGAIN = (
    f"import sys; sys.path.append({str(Path(__file__).resolve().parents[1])!r}); "
    "from forkmon.cli import main; sys.exit(main())"
)
"""`python -m forkmon`, but for the current directory: it may be a run's, with a json.py in it."""

DESCRIPTION = (
    "Watch a checkpoint directory from the terminal: every layer's weight distribution, live. "
    "`forkmon PATH` opens the monitor; the commands below do the rest."
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run forkmon and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    signal.signal(signal.SIGTERM, _terminated)
    try:
        return _answer(arguments)
    except _TerminatedError:
        return Exit.TERMINATED
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # The reader of our output went away (`| head`): no error, and nothing more to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.OK
    except DeviceLostError as error:
        # A broken CUDA context can only be left with its process.
        print(f"forkmon: {error}; going on with the CPU", file=sys.stderr, flush=True)
        again = [sys.executable, "-P", "-c", _AGAIN, *arguments, "--device", "cpu"]
        os.execv(sys.executable, again)  # noqa: S606 -- itself, with the same arguments
    except ForkmonError as error:
        print(f"forkmon: error: {error}", file=sys.stderr)
        return error.exit_code


def _answer(arguments: list[str]) -> int:
    try:
        options = _parser().parse_args(_with_command(arguments))
        run: Run = options.run_command
        return run(options)
    finally:
        sys.stdout.flush()  # here, where a reader that went away is no error


class _TerminatedError(BaseException):
    """SIGTERM arrived: unwind, so that stores and temporary directories are closed."""


def _terminated(_number: int, _frame: object) -> NoReturn:
    raise _TerminatedError


def _with_command(arguments: list[str]) -> list[str]:
    """Return the arguments with `watch` before them, unless they begin with a command."""
    if not arguments or arguments[0] in COMMANDS or arguments[0] in ("-h", "--help", "--version"):
        return arguments
    return ["watch", *arguments]


class _Parser(argparse.ArgumentParser):
    """Writes errors the way all of forkmon does."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{safe(message, 400)} (`{self.prog} --help` shows how)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="forkmon", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"forkmon {__version__}")
    parser.set_defaults(run_command=_nothing_to_do)
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=_Parser)
    for name, (add, does) in COMMANDS.items():
        command = commands.add_parser(name, help=does, description=does)
        add(command)
        command.set_defaults(run_command=partial(_run, name))
    return parser


def _run(name: str, options: argparse.Namespace) -> int:
    """Run the command's module, imported only now: `--help` needs none of them."""
    run: Run = import_module(f"forkmon.commands.{name}").run
    return run(options)


def _nothing_to_do(_options: argparse.Namespace) -> int:
    raise UsageError("name a run directory: forkmon PATH (or `forkmon demo`, or --help)")


def _common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", type=Path, metavar="FILE", help="where the history is kept")
    parser.add_argument("--interval", type=float, metavar="SECONDS", help="between two looks")
    parser.add_argument("--settle", type=float, metavar="SECONDS",
                        help="how long a checkpoint without a marker must not change")  # fmt: skip
    parser.add_argument("--threads", type=float, metavar="N", help="threads that count elements")
    parser.add_argument("--device", metavar="auto|cpu|cuda[:N]", help="where to compute")
    parser.add_argument("--read-rate", type=float, metavar="MB", help="read no more a second")
    parser.add_argument("--preset", metavar="quiet|default|paranoid", help="how much is alerted")
    parser.add_argument("--on-alert", metavar="CMD",
                        help="run for new alerts: no shell, JSON on its stdin")  # fmt: skip
    parser.add_argument("--webhook", metavar="URL", help="post new alerts there as JSON")
    _roles(parser)


def _roles(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--roles",
        metavar="LIST",
        help="whose tensors: model,ema and optimizer; the first two by default",
    )


def _screen(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--ascii", action="store_const", const=True, help="ASCII characters only")
    parser.add_argument("--theme", metavar="NAME", help="a theme of themes/*.toml")
    parser.add_argument("--mouse", action="store_const", const=True, help="the mouse selects rows")
    parser.add_argument("--bell", action="store_const", const=True, help="ring for new alerts")


def _watch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="a run directory, or one checkpoint")
    _common(parser)
    _screen(parser)


def _view(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", type=Path, help="a store that `forkmon` or `record` wrote")
    _screen(parser)


def _scan(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="a run directory, or one checkpoint")
    _common(parser)
    parser.add_argument("--no-store", action="store_true", help="keep no history of this scan")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="one JSON object on stdout")
    output.add_argument("--jsonl", action="store_true", help="one JSON object a line, as they come")
    parser.add_argument("--fail-on", choices=("warn", "error"),
                        help="exit with 3 when there is an alert at least so severe")  # fmt: skip
    parser.add_argument("--filter", metavar="REGEX", help="only tensors whose name matches")
    parser.add_argument("--last", type=_positive, metavar="N", help="only the N newest checkpoints")


def _record(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="a run directory")
    _common(parser)


def _show(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="a checkpoint directory or file")
    parser.add_argument("tensor", nargs="?", help="one tensor's name; all of them without it")
    _roles(parser)
    parser.add_argument("--ascii", action="store_const", const=True, help="ASCII characters only")
    parser.add_argument("--threads", type=float, metavar="N", help="threads that count elements")


def _bench(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, nargs="?", help="a checkpoint; made here without it")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--threads", type=float, metavar="N", help="threads that count elements")
    parser.add_argument("--size", type=_positive, metavar="MB", default=256,
                        help="of each file that is made")  # fmt: skip
    parser.add_argument("--repeat", type=_positive, metavar="N", default=3,
                        help="measurements, of which the best counts")  # fmt: skip
    parser.add_argument("--device", metavar="cpu|cuda[:i]", help="measure a GPU too")


def _diff(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", type=Path, help="a checkpoint, or a run (its newest checkpoint)")
    parser.add_argument("b", type=Path, help="another one")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, help="a run directory, one checkpoint, or a store")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE",
                        help="its suffix says what: .html .md .csv .json .svg")  # fmt: skip
    _common(parser)
    parser.add_argument("--no-store", action="store_true", help="keep no history of this look")


def _probe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="neuromfa, pruning or spectrum")
    parser.add_argument("path", type=Path, help="a checkpoint, or a run directory")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--last", type=_positive, metavar="N", help="only the N newest checkpoints")
    parser.add_argument("--set", action="append", metavar="KEY=VALUE", help="change a parameter")
    parser.add_argument(
        "--reference", type=int, metavar="STEP", help="what others are held against"
    )
    parser.add_argument("--timeout", type=float, metavar="SECONDS", help="for each checkpoint")
    parser.add_argument(
        "--memory", type=_positive, metavar="MB", help="the probe's process may use"
    )
    parser.add_argument("--ascii", action="store_const", const=True, help="ASCII characters only")


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, nargs="?", help="a run directory, if it is about one")
    parser.add_argument("--store", type=Path, metavar="FILE", help="where its history is kept")


def _demo(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run", metavar="NAME", default="tiny-lm", help="a run of sample_runs/")
    parser.add_argument("--every", type=float, default=1.5, metavar="SECONDS",
                        help="between two checkpoints of the replay")  # fmt: skip
    _screen(parser)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a number from 1 on")
    return number


COMMANDS: dict[str, tuple[Callable[[argparse.ArgumentParser], None], str]] = {
    "watch": (_watch, "The monitor on a run directory; the word may be left out."),
    "scan": (_scan, "Analyse what is there, once, and print a triage report."),
    "record": (_record, "Analyse for ever without a screen: the recorder of a batch job."),
    "view": (_view, "The monitor on a stored history alone."),
    "show": (_show, "One checkpoint's statistics and histograms, without a store."),
    "bench": (_bench, "How fast statistics are here, against reading the same bytes."),
    "diff": (_diff, "Two checkpoints, or the newest of two runs: exact distances."),
    "demo": (_demo, "Replay a sample run live and open the monitor on it."),
    "report": (_report, "Everything known of a run as one file: .html .md .csv .json .svg."),
    "probe": (_probe, "A long instrument: neuromfa, pruning or spectrum."),
    "doctor": (_doctor, "Versions, device, file system, stores, and where each setting is from."),
}
