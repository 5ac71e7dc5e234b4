"""The tensors of a run side by side: what can only be judged by comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from forkmon.detect.panel import Axis, Panel
from forkmon.detect.robust import Array

COLUMNS: tuple[str, ...] = ("n", "nan", "inf", "std", "l2", "update", "return_jump")
"""The statistics by which tensors are compared."""

NO_DIGEST = 0
"""Stands for a digest that is not known (a real one of 0 is as likely as any other: 2 ** -64)."""

Digests = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Crowd:
    """Columns of all tensors of the model on one axis; NaN where a number is missing."""

    names: tuple[str, ...]
    axis: Axis
    columns: dict[str, Array]
    """`COLUMNS`, and `log_rms`, each (tensors, checkpoints)."""
    digests: Digests

    @property
    def steps(self) -> tuple[int, ...]:
        """Return the step of each column."""
        return tuple(step for _, step in self.axis)


@dataclass(slots=True)
class Gathering:
    """Collects panels into a Crowd, so that the series themselves can be let go."""

    panels: list[tuple[tuple[str, ...], Axis, dict[str, Array], Digests]] = field(
        default_factory=list[tuple[tuple[str, ...], Axis, dict[str, Array], Digests]]
    )

    def add(self, panel: Panel) -> None:
        """Take what is compared from the model's tensors."""
        model = panel.of_model()
        if not model.series:
            return
        columns = {name: model.column(name) for name in COLUMNS}
        columns["log_rms"] = model.log_rms()
        _without_broken(columns)
        names = tuple(one.tensor for one in model.series)
        self.panels.append((names, model.axis, columns, _digests(model)))

    def crowd(self) -> Crowd:
        """Return all that was taken, on the union of the axes, in name order."""
        axis = tuple(sorted({place for _, one, _, _ in self.panels for place in one}))
        names = [name for one, _, _, _ in self.panels for name in one]
        order = sorted(range(len(names)), key=names.__getitem__)
        at = {place: i for i, place in enumerate(axis)}
        shape = (len(names), len(axis))
        columns = {name: np.full(shape, np.nan) for name in (*COLUMNS, "log_rms")}
        digests = np.full(shape, NO_DIGEST, np.uint64)
        row = 0
        for some, own, values, prints in self.panels:
            places = np.array([at[place] for place in own])
            rows = np.arange(row, row + len(some))
            for name, column in values.items():
                columns[name][np.ix_(rows, places)] = column
            digests[np.ix_(rows, places)] = prints
            row += len(some)
        return Crowd(
            tuple(names[i] for i in order),
            axis,
            {name: column[order] for name, column in columns.items()},
            digests[order],
        )


def _without_broken(columns: dict[str, Array]) -> None:
    """Forget distances from and to checkpoints with NaN or infinities: those count as zeros."""
    broken = np.nan_to_num(columns["nan"]) + np.nan_to_num(columns["inf"]) > 0
    if not broken.any():
        return
    before, after = np.zeros_like(broken), np.zeros_like(broken)
    before[:, 1:], after[:, :-1] = broken[:, :-1], broken[:, 1:]
    columns["update"] = np.where(broken | before, np.nan, columns["update"])
    columns["return_jump"] = np.where(broken | before | after, np.nan, columns["return_jump"])


def _digests(panel: Panel) -> Digests:
    missing = (None,) * len(panel.axis)
    rows: list[Sequence[int | None]] = [one.digests or missing for one in panel.series]
    known = [[NO_DIGEST if d is None else d % 2**64 for d in row] for row in rows]
    return np.array(known, np.uint64).reshape(len(rows), len(panel.axis))
