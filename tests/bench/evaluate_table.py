"""The figures of an evaluation as Markdown: false alarms, recall, delay, and the others."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import evaluate_foreign as foreign
import evaluate_worlds as worlds
import numpy as np

Record = dict[str, Any]
"""One line of results: whatever JSON holds."""

CERTAINTY = 0.95

FALSE_KINDS = ("SPLIT", "REGIME")
"""What a healthy run must not raise."""

SOON = 2
"""Checkpoints by which a jump must be found."""

SPARE = 0.01
"""Rate of false alarms at which methods are compared."""


def load(path: Path) -> list[Record]:
    """Return the records of a file; a last line cut short is no record."""
    if not path.exists():
        return []
    out: list[Record] = []
    for line in path.read_text("utf-8").splitlines():
        try:
            out.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return out


def interval(hits: int, runs: int) -> tuple[float, float]:
    """Return the Clopper-Pearson interval of a rate."""
    from scipy import stats

    tail = (1 - CERTAINTY) / 2
    low = float(stats.beta.ppf(tail, hits, runs - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, runs - hits)) if hits < runs else 1.0
    return low, high


def lines(records: Sequence[Record]) -> Iterator[str]:
    """Yield the tables."""
    yield from _false_alarms(records)
    yield from _found(records)
    yield from _foreign(records)
    yield from _compared(records)
    yield from _breaks(records)


def _groups(
    records: Iterable[Record], names: Iterable[str]
) -> Iterator[tuple[str, int, str, str, list[Record]]]:
    known = list(names)
    found: dict[tuple[str, int, str, str], list[Record]] = {}
    for record in records:
        if record["world"] in known:
            key = (record["world"], record["n"], record["dtype"], record["preset"])
            found.setdefault(key, []).append(record)
    for key in sorted(found, key=lambda k: (known.index(k[0]), *k[1:])):
        yield (*key, found[key])


def _false_alarms(records: Sequence[Record]) -> Iterator[str]:
    yield "| null | n | type | preset | runs | SPLIT | REGIME | other alerts in 100 runs |"
    yield "|---|---:|---|---|---:|---:|---:|---|"
    for world, n, dtype, preset, runs in _groups(records, [*worlds.NULLS, "healthy run"]):
        cells = [_rate(sum(_has(r, kind) for r in runs), len(runs)) for kind in FALSE_KINDS]
        rest = _others(runs)
        yield f"| {world} | {n} | {dtype} | {preset} | {len(runs)} | {' | '.join(cells)} | {rest} |"
    yield ""


def _has(record: Record, kind: str) -> bool:
    return any(alert[0] == kind for alert in record["alerts"])


def _rate(hits: int, runs: int) -> str:
    low, high = interval(hits, runs)
    return f"{hits} ({low:.2%} to {high:.2%})".replace("%", " %")


def _others(runs: Sequence[Record]) -> str:
    counts: dict[str, int] = {}
    for record in runs:
        for kind in {alert[0] for alert in record["alerts"]} - set(FALSE_KINDS):
            counts[kind] = counts.get(kind, 0) + 1
    return ", ".join(f"{kind} {100 * c / len(runs):.3g}" for kind, c in sorted(counts.items()))


def hit(record: Record) -> int | None:
    """Return the checkpoints from the truth to the first right alert; None where there is none."""
    delays = [at - record["truth"] for kind, _, at in record["alerts"] if kind == record["kind"]]
    return min((d for d in delays if d >= -record["early"]), default=None)


def _found(records: Sequence[Record]) -> Iterator[str]:
    yield (
        "| world | n | type | preset | runs | alert | recall | delay, median (p90) | "
        "log steps | within 2 |"
    )
    yield "|---|---:|---|---|---:|---|---:|---:|---:|---:|"
    for world, n, dtype, preset, runs in _groups(records, [*worlds.FORKS, *worlds.EVENTS]):
        delays = [d for r in runs if (d := hit(r)) is not None]
        soon = sum(d <= SOON for d in delays) / len(runs)
        logs = [
            late
            for r in runs
            for (kind, _, at), late in list(zip(r["alerts"], r["log_delays"], strict=True))
            if kind == r["kind"] and at - r["truth"] == hit(r)
        ]
        when = f"{np.median(delays):.0f} ({np.quantile(delays, 0.9):.0f})" if delays else ""
        late = f"{np.median(logs):.2f}" if logs else ""
        yield (
            f"| {world} | {n} | {dtype} | {preset} | {len(runs)} | {runs[0]['kind']} | "
            f"{len(delays) / len(runs):.3f} | {when} | {late} | {soon:.3f} |"
        )
    yield ""


def _foreign(records: Sequence[Record]) -> Iterator[str]:
    seen = list(_groups(records, foreign.CASES))
    if not seen:
        return
    yield "| checkpoints | runs | all told by PROVENANCE | other steps told |"
    yield "|---|---:|---:|---:|"
    for case, _, _, _, runs in seen:
        told = sum(bool(r["told"]) for r in runs)
        found = f"{told / len(runs):.3f}" if case != "honest" else ""
        yield f"| {case} | {len(runs)} | {found} | {sum(r['others'] for r in runs)} |"
    yield ""


def _compared(records: Sequence[Record]) -> Iterator[str]:
    """Yield ROC areas and delays at one rate of false alarms, all with 3 of 4 checkpoints."""
    seen = [r for r in records if "scores" in r and r["preset"] == "default"]
    nulls = [r for r in seen if r["world"] in worlds.NULLS and r["world"] != "spike in fused bias"]
    if not nulls:
        return
    yield (
        f"At {SPARE:.0%} false alarms over {len(nulls)} null runs: area under the ROC curve, "
        "recall, median delay."
    ).replace("%", " %")
    yield ""
    methods = list(nulls[0]["scores"])
    yield f"| world | n | {' | '.join(methods)} |"
    yield f"|---|---:|{'---:|' * len(methods)}"
    highest = {m: sorted(_top(r["scores"][m]) for r in nulls) for m in methods}
    for world, n, _, _, runs in _groups(seen, worlds.FORKS):
        if runs[0]["kind"] != "SPLIT":
            continue
        cells = [_cell(runs, method, highest[method]) for method in methods]
        yield f"| {world} | {n} | {' | '.join(cells)} |"
    yield ""


def _top(scores: Sequence[tuple[int, float]]) -> float:
    return scores[-1][1] if scores else float("-inf")


def _cell(runs: Sequence[Record], method: str, nulls: Sequence[float]) -> str:
    limit = nulls[min(len(nulls) - 1, int(np.ceil((1 - SPARE) * len(nulls))))]
    tops = np.array([_top(r["scores"][method]) for r in runs])
    area = float(np.mean([(tops > null).mean() + 0.5 * (tops == null).mean() for null in nulls]))
    delays = [
        next(place for place, score in r["scores"][method] if score > limit) - r["truth"]
        for r in runs
        if _top(r["scores"][method]) > limit
    ]
    when = f"{np.median(delays):+.0f}" if delays else "-"
    return f"{area:.3f}, {len(delays) / len(runs):.2f}, {when}"


def _breaks(records: Sequence[Record]) -> Iterator[str]:
    """Yield what PELT makes of the log norms, beside REGIME."""
    seen = [r for r in records if "breaks" in r and r["preset"] == "default"]
    if not seen:
        return
    yield "| world | REGIME a run | hits | PELT breaks a run | hits | of increments | hits |"
    yield "|---|---:|---:|---:|---:|---:|---:|"
    names = [*(w for w in worlds.EVENTS if "jump" in w), *worlds.NULLS]
    for world, _, _, _, runs in _groups(seen, names):
        cells: list[str] = []
        ours = [[at for kind, _, at in r["alerts"] if kind == "REGIME"] for r in runs]
        for found in (ours, *([r["breaks"][m] for r in runs] for m in runs[0]["breaks"])):
            right = [
                any(abs(at - r["truth"]) <= 3 for at in places)
                for r, places in zip(runs, found, strict=True)
            ]
            hits = f"{np.mean(right):.2f}" if runs[0]["truth"] >= 0 else ""
            cells += [f"{np.mean([len(places) for places in found]):.2f}", hits]
        yield f"| {world} | {' | '.join(cells)} |"
    yield ""
