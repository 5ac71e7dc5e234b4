"""Alerts of one event are one line."""

from __future__ import annotations

from forkmon.stats.alert import Alert, Severity
from forkmon.tui.alert_groups import common_block, grouped


def alert(tensor: str | None, *, onset: int = 5, kind: str = "NONFINITE", nan: int = 1) -> Alert:
    """Return an alert of one tensor."""
    return Alert(kind, Severity.ERROR, tensor, onset, onset, f"{nan} NaN", {"nan": nan})


def test_many_tensors_at_one_step_are_one_line() -> None:
    """The group counts its tensors, adds their evidence up, and names the first."""
    single = alert("head.weight", onset=9)
    found = grouped([single, *(alert(f"h.{i}.w", nan=i) for i in range(4))])
    assert len(found) == 2
    assert found[0] is single
    assert found[1].tensor == "h"
    assert found[1].evidence == {"tensors": 4, "nan": 6}
    assert found[1].message == "4 tensors, 6 NaN: h.0.w, h.1.w, h.2.w and 1 more"


def test_few_tensors_other_kinds_and_the_run_stay_alone() -> None:
    """Two tensors are two lines; so are different kinds and alerts on the run."""
    alerts = [alert("a.w"), alert("b.w"), alert("c.w", kind="SPLIT"), alert(None), alert(None)]
    assert grouped(alerts) == tuple(alerts)


def test_the_common_block_is_the_innermost_one() -> None:
    """Tensors of several top-level modules share only the model."""
    assert common_block(["h.0.a.w", "h.0.b.w"]) == "h.0"
    assert common_block(["h.0.a.w", "h.1.b.w", "h.10.b.w"]) == "h"
    assert common_block(["h.w", "x.w"]) == ""
