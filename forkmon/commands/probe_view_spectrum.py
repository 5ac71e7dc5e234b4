"""How spectra read: the whole over steps, and each matrix of one checkpoint."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median

from forkmon.commands.probe_views import columns
from forkmon.draw import cells, numbers
from forkmon.draw.glyphs import Glyphs
from forkmon.draw.sparkline import sparkline
from forkmon.probes.outcome import Done
from forkmon.probes.spectrum import PROBE, Result, Row
from forkmon.text import safe

NAME_CELLS = 40
DENSITY_CELLS = 24


class SpectrumView:
    """The view of `spectrum`."""

    def needs_reference(self, parameters: Mapping[str, object]) -> bool:  # noqa: ARG002 -- never
        """Return False: steps stand for themselves."""
        return False

    def following(self, parameters: Mapping[str, object], reference: Done) -> dict[str, object]:  # noqa: ARG002
        """Return the parameters as they are."""
        return dict(parameters)

    def against(self, outcome: Done, reference: Done) -> dict[str, object]:  # noqa: ARG002
        """Return nothing: rows compare by their names."""
        return {}

    def table(self, outcomes: Sequence[Done], reference: Done, glyphs: Glyphs) -> Iterator[str]:  # noqa: ARG002
        """Yield a line for each step: means over matrices."""
        results = [_result(outcome) for outcome in outcomes]
        kinds = [row.method for row in results[-1].rows]
        yield (
            f"{len(kinds):,} matrices, {kinds.count('exact'):,} exact, "
            f"{kinds.count('lanczos'):,} estimated; medians over matrices"
        )
        titles = ("step", "norm", "largest norm", "stable rank", "eff. rank", "alpha", "outliers")
        rows = [
            (numbers.step(outcome.step, glyphs), *_overall(found, glyphs))
            for outcome, found in zip(outcomes, results, strict=True)
        ]
        yield from columns(titles, rows, glyphs)

    def panel(self, outcome: Done, glyphs: Glyphs) -> Iterator[str]:
        """Yield a line for each matrix."""
        found = _result(outcome)
        titles = ("matrix", "norm", "stable rank", "eff. rank", "alpha", "KS", "edge", "outliers",
                  "from noise", "singular values, 0 to norm")  # fmt: skip
        yield ""
        yield from columns(titles, [_cells(row, glyphs) for row in found.rows], glyphs, left=1)


VIEW = SpectrumView()


def _result(outcome: Done) -> Result:
    return PROBE.read_result(outcome.result)


def _overall(found: Result, glyphs: Glyphs) -> tuple[str, ...]:
    rows = [row for row in found.rows if not row.note]

    def middle(values: Sequence[float | None]) -> str:
        known = [value for value in values if value is not None]
        return numbers.short(median(known) if known else None, 7, glyphs)

    outliers = [row.outliers for row in rows if row.outliers is not None]
    return (
        middle([row.norm for row in rows]),
        numbers.short(max((row.norm or 0.0 for row in rows), default=None), 7, glyphs),
        middle([row.stable_rank for row in rows]),
        middle([row.effective_rank for row in rows]),
        middle([row.alpha for row in rows]),
        numbers.short(fmean(outliers) if outliers else None, 7, glyphs),
    )


def _cells(row: Row, glyphs: Glyphs) -> tuple[str, ...]:
    name = cells.clip_middle(safe(row.name), NAME_CELLS, glyphs)
    if row.note:
        return (name, *(glyphs.dash,) * 8, row.note)
    return (
        name,
        numbers.short(row.norm, 7, glyphs) + ("" if row.method == "exact" else "~"),
        numbers.short(row.stable_rank, 7, glyphs),
        numbers.short(row.effective_rank, 7, glyphs),
        numbers.short(row.alpha, 7, glyphs),
        numbers.short(row.alpha_distance, 7, glyphs),
        numbers.short(row.edge, 7, glyphs),
        glyphs.dash if row.outliers is None else f"{row.outliers:,}",
        numbers.short(row.noise_distance, 7, glyphs),
        sparkline(row.density, DENSITY_CELLS, glyphs, lo=0.0),
    )
