"""How pruning reads: sparsity over steps, the curve of energy kept, the sparsest tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from forkmon.commands.probe_views import columns
from forkmon.draw import cells, numbers
from forkmon.draw.glyphs import Glyphs
from forkmon.draw.sparkline import sparkline
from forkmon.probes.outcome import Done
from forkmon.probes.pruning import PROBE, Result, Row
from forkmon.text import safe

NAME_CELLS = 44
HEADS = ("free", "at |w|", "50 % keeps", "90 % keeps", "gini", "hoyer", "zeros", "spike", "2:4",
         "int8", "int4", "fp8", "bf16")  # fmt: skip
TENSORS = 24
"""Rows of the panel: the tensors that give up most."""


class PruningView:
    """The view of `pruning`."""

    def needs_reference(self, parameters: Mapping[str, object]) -> bool:  # noqa: ARG002 -- never
        """Return False: steps stand for themselves."""
        return False

    def following(self, parameters: Mapping[str, object], reference: Done) -> dict[str, object]:  # noqa: ARG002
        """Return the parameters as they are."""
        return dict(parameters)

    def against(self, outcome: Done, reference: Done) -> dict[str, object]:
        """Return how much more is prunable than at the reference."""
        now, base = _result(outcome).model.prunable, _result(reference).model.prunable
        return {"prunable_gain": None if now is None or base is None else now - base}

    def table(self, outcomes: Sequence[Done], reference: Done, glyphs: Glyphs) -> Iterator[str]:  # noqa: ARG002
        """Yield a line for each step: the whole model with one threshold."""
        share = numbers.share(_share(outcomes[0]))
        yield f"the whole model, one threshold; free: what may go for {share} of the energy"
        titles = ("step", *HEADS)
        results = [_result(outcome) for outcome in outcomes]
        rows = [
            (numbers.step(outcome.step, glyphs), *_cells(found, found.model, glyphs))
            for outcome, found in zip(outcomes, results, strict=True)
        ]
        yield from columns(titles, rows, glyphs)
        if len(results) > 1:
            trace = [found.model.prunable for found in results]
            yield f"free  {sparkline(trace, min(60, len(trace)), glyphs)}"

    def panel(self, outcome: Done, glyphs: Glyphs) -> Iterator[str]:
        """Yield the curve of energy kept and the tensors that give up most."""
        found = _result(outcome)
        yield ""
        if found.model.kept:
            rows = [
                (numbers.share(fraction), _exact(one), _exact(each))
                for fraction, one, each in zip(
                    found.fractions, found.model.kept, found.uniform, strict=True
                )
            ]
            heads = ("pruned", "energy kept, one threshold", "energy kept, each tensor")
            yield from columns(heads, rows, glyphs)
            yield ""
        tensors = sorted(
            (row for row in found.rows if row.kind == "tensor"),
            key=lambda row: -(row.prunable or 0.0),
        )
        titles = ("tensor", *HEADS)
        named = [
            (cells.clip_middle(safe(row.name), NAME_CELLS, glyphs), *_cells(found, row, glyphs))
            for row in tensors[:TENSORS]
        ]
        yield from columns(titles, named, glyphs, left=1)
        if len(tensors) > TENSORS:
            yield f"and {len(tensors) - TENSORS:,} tensors that give up less; --json has all"


VIEW = PruningView()


def _result(outcome: Done) -> Result:
    return PROBE.read_result(outcome.result)


def _share(outcome: Done) -> float:
    return PROBE.read_parameters(outcome.parameters).share


def _cells(found: Result, row: Row, glyphs: Glyphs) -> tuple[str, ...]:
    def kept(fraction: float) -> str:
        at = found.fractions.index(fraction)
        return _exact(row.kept[at]) if row.kept else glyphs.dash

    def share(part: float | None) -> str:
        return glyphs.dash if part is None else numbers.share(part)

    return (
        glyphs.dash if row.prunable is None else f"{100 * row.prunable:.1f} %",
        numbers.short(row.threshold, 7, glyphs),
        kept(0.5),
        kept(0.9),
        numbers.short(row.gini, 7, glyphs),
        numbers.short(row.hoyer, 7, glyphs),
        numbers.share(row.zeros, row.n) if row.n else glyphs.dash,
        share(row.spike),
        share(row.two_four),
        *(numbers.short(error, 7, glyphs) for error in (row.int8, row.int4, row.fp8, row.bf16)),
    )


def _exact(part: float) -> str:
    return f"{100 * part:.2f} %"
