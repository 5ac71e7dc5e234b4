"""The report as a page: one HTML file that needs nothing else, or Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape

from forkmon.commands import report_pictures as pictures
from forkmon.commands.report_pictures import Picture
from forkmon.draw.ink import Line, plain
from forkmon.draw.numbers import bytesize, short, step
from forkmon.draw.svg import style, svg
from forkmon.stats.alert import Alert
from forkmon.stats.row import StatRow
from forkmon.store.reader import Reader
from forkmon.store.values import CheckpointRow, StoredVerdict, TensorEntry
from forkmon.text import safe
from forkmon.worker.judge import verdict

MOST_ALERTS = 200
MOST_TENSORS = 2_000

_CSS = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem;
color:#1b1f24;background:#fff}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2.2rem}h3{font-size:.95rem;font-weight:600}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.15rem .9rem .15rem 0;vertical-align:top}
td.n,th.n{text-align:right}th{font-weight:600;border-bottom:1px solid #8c959f}
.scroll{overflow-x:auto}.muted{color:#57606a}svg{max-width:100%;height:auto}
@media(prefers-color-scheme:dark){body{color:#d0d7de;background:#0d1117}.muted{color:#8b949e}}
"""

NUMBERS = ("mean", "std", "skew", "kurtosis", "min", "max", "zeros", "nan", "inf")


@dataclass(frozen=True, slots=True)
class Told:
    """What a report tells, read once."""

    name: str
    path: str
    found: StoredVerdict
    alerts: tuple[Alert, ...]
    checkpoints: tuple[CheckpointRow, ...]
    tensors: tuple[tuple[TensorEntry, StatRow], ...]
    """Of the newest checkpoint."""


def told(reader: Reader) -> Told:
    """Return what a stored run has to tell."""
    run = reader.run()
    timeline = reader.timeline()
    tensors: tuple[tuple[TensorEntry, StatRow], ...] = ()
    if timeline:
        stats = reader.stats(timeline[-1].id)
        entries = (e for e in reader.tensors(timeline[-1].id) if e.kind == "tensor")
        tensors = tuple((entry, stats[entry.id]) for entry in entries if entry.id in stats)
    return Told(
        safe(run.name),
        safe(run.path),
        verdict(reader),
        reader.alerts(),
        reader.checkpoints(),
        tensors,
    )


def html(reader: Reader) -> str:
    """Return the report as one page: styles and pictures inside, no script, nothing to fetch."""
    it = told(reader)
    body = [
        f"<h1>{escape(it.name)}: {it.found.state}</h1>",
        f"<p>{escape('; '.join(map(safe, it.found.reasons)))}</p>",
        f'<p class="muted">{escape(it.path)}, {len(it.checkpoints):,} checkpoints</p>',
        _section("Alerts", _table(*_alert_table(it))),
        *_picture_sections(reader, it.alerts),
        _section("Newest checkpoint", _table(*_tensor_table(it))),
        _section("Checkpoints", _table(*_checkpoint_table(it))),
    ]
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>forkmon: {escape(it.name)}</title><style>{_CSS}{style()}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def markdown(reader: Reader) -> str:
    """Return the report as Markdown, pictures as text."""
    it = told(reader)
    parts = [
        f"# {_cell(it.name)}: {it.found.state}",
        _cell("; ".join(map(safe, it.found.reasons))),
        f"{_cell(it.path)}, {len(it.checkpoints):,} checkpoints",
        "## Alerts",
        _markdown_table(*_alert_table(it)),
    ]
    for title, shown in _pictures(reader, it.alerts):
        parts.append(f"## {title}")
        for picture in shown:
            text = "\n".join(line.rstrip() for line in plain(picture.lines))
            parts += [f"### {_cell(picture.title)}", f"```text\n{text}\n```"]
    parts += ["## Newest checkpoint", _markdown_table(*_tensor_table(it))]
    parts += ["## Checkpoints", _markdown_table(*_checkpoint_table(it))]
    return "\n\n".join(parts) + "\n"


def drawing(reader: Reader) -> str:
    """Return the overview and the forks below each other as one SVG."""
    lines: list[Line] = []
    for _, shown in _pictures(reader, reader.alerts()):
        for picture in shown:
            lines += [pictures.heading(picture.title), *picture.lines, ()]
    return svg(lines, label=f"forkmon: {safe(reader.run().name)}", styled=True) + "\n"


def _pictures(reader: Reader, alerts: Sequence[Alert]) -> Iterator[tuple[str, list[Picture]]]:
    whole = pictures.overview(reader)
    yield "Overview", [whole] if whole else []
    yield "Forks", pictures.forks(reader, alerts)
    yield "First and newest", pictures.histograms(reader, alerts)
    yield "Logged by the trainer", pictures.logged(reader)


def _picture_sections(reader: Reader, alerts: Sequence[Alert]) -> Iterator[str]:
    for title, shown in _pictures(reader, alerts):
        if shown:
            drawn = (
                f"<h3>{escape(p.title)}</h3>"
                f'<div class="scroll">{svg(p.lines, label=f"{title}: {p.title}")}</div>'
                for p in shown
            )
            yield _section(title, "".join(drawn))


def _section(title: str, body: str) -> str:
    return f"<h2>{escape(title)}</h2>{body}"


Rows = Iterable[Sequence[str]]


def _alert_table(it: Told) -> tuple[Sequence[str], Rows, str]:
    rows = [
        (
            alert.severity.word,
            safe(alert.kind),
            "run" if alert.tensor is None else safe(alert.tensor),
            step(alert.onset),
            step(alert.step),
            safe(alert.message, 300),
        )
        for alert in it.alerts[:MOST_ALERTS]
    ]
    left_out = len(it.alerts) - len(rows)
    said = f"{left_out:,} more" if left_out else "" if rows else "none"
    return ("severity", "kind", "tensor", "onset", "detected", "message"), rows, said


def _tensor_table(it: Told) -> tuple[Sequence[str], Rows, str]:
    rows = [
        (
            safe(entry.name),
            safe(entry.dtype),
            "x".join(map(str, entry.shape)) or "scalar",
            *(short(getattr(stat, name), 9) for name in NUMBERS),
            "" if stat.modes is None else str(stat.modes),
        )
        for entry, stat in it.tensors[:MOST_TENSORS]
    ]
    left_out = len(it.tensors) - len(rows)
    return (
        ("tensor", "dtype", "shape", *NUMBERS, "modes"),
        rows,
        (f"{left_out:,} more" if left_out else ""),
    )


def _checkpoint_table(it: Told) -> tuple[Sequence[str], Rows, str]:
    rows = [
        (
            step(row.step),
            str(row.segment),
            safe(row.format),
            row.status,
            bytesize(row.bytes),
            safe(row.path),
            safe(row.reason or "", 200),
        )
        for row in it.checkpoints
    ]
    return ("step", "segment", "format", "status", "size", "path", "reason"), rows, ""


def _table(head: Sequence[str], rows: Rows, after: str) -> str:
    cells = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    tail = f'<p class="muted">{escape(after)}</p>' if after else ""
    if not body:
        return tail
    return f'<div class="scroll"><table><tr>{cells}</tr>{body}</table></div>{tail}'


def _markdown_table(head: Sequence[str], rows: Rows, after: str) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    lines += [f"| {' | '.join(map(_cell, row))} |" for row in rows]
    if len(lines) == 2:
        return after or "none"
    return "\n".join(lines) + (f"\n\n{after}" if after else "")


def _cell(text: str) -> str:
    """Return text that Markdown shows as it is."""
    for char in "\\`*_[]<>|#":
        text = text.replace(char, f"\\{char}")
    return text
