"""A person's marks: kept, replaced as a whole, and never a reason not to start."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon.stats.alert import Alert, Severity
from forkmon.tui.marks import Marks, load, save

KEYS = st.tuples(st.text(max_size=8), st.none() | st.text(max_size=8), st.integers(0, 2**60))


def alert(kind: str, tensor: str, onset: int) -> Alert:
    """Return an alert."""
    return Alert(kind, Severity.WARN, tensor, onset, onset, "")


@given(
    keys=st.frozensets(KEYS, max_size=5),
    muted=st.frozensets(st.text(max_size=8), max_size=3),
    baseline=st.none() | st.tuples(*[st.integers(0, 9)] * 3),
)
def test_what_is_saved_is_loaded(
    tmp_path_factory: pytest.TempPathFactory,
    keys: frozenset[tuple[str, str | None, int]],
    muted: frozenset[str],
    baseline: tuple[int, int, int] | None,
) -> None:
    """Marks survive the file, names of any characters too."""
    path = tmp_path_factory.mktemp("marks") / "deep" / "run.json"
    marks = Marks(keys, muted, baseline, {"panel": "fork", "log_steps": True})
    assert save(marks, path) == ""
    assert load(path) == marks
    assert [file.name for file in path.parent.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", '{"acknowledged": 3, "muted": {}}',
     '{"acknowledged": [[1, 2, 3], ["a"]]}',
     '{"muted": [null, 7]}', '{"baseline": [1, "x", 2]}', "[" * 100_000],
)  # fmt: skip
def test_a_broken_file_is_no_marks(tmp_path: Path, text: str) -> None:
    """Whatever the file holds, forkmon starts with what is usable of it."""
    path = tmp_path / "run.json"
    path.write_text(text)
    assert load(path) == Marks()


def test_a_directory_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    """Marks that cannot be kept are said, and the old ones stay."""
    (tmp_path / "file").write_text("")
    said = save(Marks(muted=frozenset({"DRIFT"})), tmp_path / "file" / "run.json")
    assert said.startswith("not saved")


def test_marks_toggle() -> None:
    """The same key takes a mark back."""
    key = ("SPLIT", "a", 3)
    once = Marks().acknowledge(key).mute("DRIFT")
    assert once.acknowledged == {key}
    assert once.muted == {"DRIFT"}
    assert once.acknowledge(key).mute("DRIFT") == Marks()


def test_muted_kinds_are_not_heard_and_acknowledged_alerts_come_last() -> None:
    """Order is kept among the rest."""
    alerts = [alert("SPLIT", "a", 1), alert("DRIFT", "b", 2), alert("REGIME", "c", 3)]
    marks = Marks(acknowledged=frozenset({("SPLIT", "a", 1)}), muted=frozenset({"DRIFT"}))
    assert [a.kind for a in marks.heard(alerts)] == ["REGIME", "SPLIT"]


def test_the_file_is_plain_json(tmp_path: Path) -> None:
    """A person may read and edit it."""
    path = tmp_path / "run.json"
    save(Marks(muted=frozenset({"DRIFT"})), path)
    assert json.loads(path.read_text())["muted"] == ["DRIFT"]
