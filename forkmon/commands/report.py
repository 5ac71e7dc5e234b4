"""`forkmon report`: what is known of a run as one file: .html .md .csv .json or .svg."""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from forkmon.commands import as_json, report_page, scan, setup
from forkmon.errors import Exit, ForkmonError, UsageError
from forkmon.stats.row import QUANTILES
from forkmon.store.reader import Reader
from forkmon.text import safe

_SQLITE = b"SQLite format 3\0"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes a cell that begins so for."""

NUMBERS = (
    "n", "mean", "std", "skew", "kurtosis", "min", "max", "l1", "l2", "zeros", "nan", "inf",
    "distinct", "modes",
)  # fmt: skip


def run(options: argparse.Namespace) -> int:
    """Write the report; a run's directory is scanned first, a store is told as it is."""
    write = WRITERS.get(options.output.suffix.lower())
    if write is None:
        raise UsageError(f"-o {safe(options.output)}: name it {' or '.join(WRITERS)}")
    path = setup.existing(options.path)
    with _history(options, path) as reader:
        text = write(reader)
    _write(text, options.output)
    return Exit.OK


@contextmanager
def _history(options: argparse.Namespace, path: Path) -> Generator[Reader]:
    """Yield the history of a store, or of a run after a look at what is new in it."""
    if _is_store(path):
        with Reader.open(path) as reader:
            yield reader
        return
    settings = setup.settings(options)
    with ExitStack() as stack:
        writer = stack.enter_context(scan.history(options, path))
        scan.analyse_all(path, writer, setup.means(settings), told=scan.progress())
        reader = writer.reader()
        if not reader.timeline():
            raise ForkmonError(f"nothing readable in {safe(path)}; `forkmon scan` says why")
        yield reader


def _is_store(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def _write(text: str, path: Path) -> None:
    """Replace the file as a whole: whoever looks at it sees the old report or the new one."""
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        new.write_text(text, "utf-8", newline="")
        new.replace(path)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise ForkmonError(
            f"{safe(path)}: {(error.strerror or 'not written').lower()}; name another place with -o"
        ) from None


def _json(reader: Reader) -> str:
    device = (reader.timeline() or reader.checkpoints())[-1].device if reader.checkpoints() else ""
    body = as_json.whole_json(reader, device, as_json.Choice())
    return json.dumps(body, allow_nan=False, indent=1) + "\n"


def _csv(reader: Reader) -> str:
    """Return a row for each tensor and checkpoint; names are guarded against formulas."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    quantiles = [f"q{level:g}" for level in QUANTILES]
    rows.writerow(["segment", "step", "version", "tensor", "role", "dtype", "shape",
                   *NUMBERS, *quantiles])  # fmt: skip
    for checkpoint in reader.checkpoints():
        stats = reader.stats(checkpoint.id)
        for entry in reader.tensors(checkpoint.id):
            if entry.kind == "tensor" and entry.id in stats:
                stat = stats[entry.id]
                rows.writerow([
                    checkpoint.segment, checkpoint.step, checkpoint.version,
                    guarded(safe(entry.name, 2000)), entry.role, entry.dtype,
                    "x".join(map(str, entry.shape)),
                    *(getattr(stat, name) for name in NUMBERS), *stat.quantiles,
                ])  # fmt: skip
    return out.getvalue()


def guarded(text: str) -> str:
    """Return a cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


WRITERS: dict[str, Callable[[Reader], str]] = {
    ".html": report_page.html,
    ".md": report_page.markdown,
    ".csv": _csv,
    ".json": _json,
    ".svg": report_page.drawing,
}
"""Suffix -> what writes such a report."""
