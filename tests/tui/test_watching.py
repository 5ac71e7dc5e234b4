"""What is said about the watching itself: stalls, ages, health, layout; without an app."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forkmon import wire
from forkmon.draw.cells import line_width
from forkmon.draw.glyphs import UNICODE
from forkmon.stats.alert import Alert, Severity
from forkmon.store.values import CheckpointRow, Timeline
from forkmon.text import safe
from forkmon.tui import layout, model
from forkmon.tui.actions import ACTIONS, bindings, keymap
from forkmon.tui.moves import MOVES
from forkmon.tui.scene import Scene
from forkmon.tui.supervisor import WorkerState
from forkmon.tui.watching import Watch, stall
from forkmon.tui.widgets.filter import Editor
from forkmon.tui.widgets.header import header_line, newest_age
from forkmon.tui.widgets.status import status_line

NOW = 1_790_000_000.0
LIVE = Watch(worker=WorkerState("live"), started=NOW - 10_000)


def timeline(*mtimes: float) -> Timeline:
    """Return checkpoints written at some times."""
    return tuple(
        CheckpointRow(
            id=i + 1, segment=1, generation=1, step=2**i, version=1, path=f"/run/{i}",
            format="safetensors", status="complete", reason=None, bytes=1, seconds=1.0,
            seen_at=at + 1, mtime=at, epoch=None, device="cpu", skipped=0, tensors=1,
        )
        for i, at in enumerate(mtimes)
    )  # fmt: skip


REGULAR = timeline(*(NOW - 1000 + 60 * i for i in range(6)))  # the newest is 700 s old


def test_a_stall_is_three_usual_intervals() -> None:
    """Silence of three medians is a notice of the run; a little less is nothing."""
    found = stall(REGULAR, LIVE, NOW)
    assert found is not None
    assert (found.kind, found.severity, found.tensor) == ("STALLED", Severity.INFO, None)
    assert "usual interval 1 m" in found.message
    newest = REGULAR[-1].mtime
    assert stall(REGULAR, LIVE, newest + 179) is None
    assert stall(REGULAR, LIVE, newest + 190) is not None


@pytest.mark.parametrize(
    ("rows", "watch"),
    [
        (REGULAR[:3], LIVE),
        (REGULAR, replace(LIVE, viewer=True)),
        (REGULAR, replace(LIVE, worker=WorkerState("stopped"))),
        (REGULAR, replace(LIVE, progress=wire.Progress(32, 0, 10))),
        (timeline(*(NOW - 200_000 + 60 * i for i in range(6))), LIVE),
        (timeline(*(NOW - 5000 for _ in range(6))), LIVE),
        ((), LIVE),
    ],
)
def test_no_stall_without_a_reason(rows: Timeline, watch: Watch) -> None:
    """Few checkpoints, viewers, dead workers, work under way and finished runs do not stall."""
    assert stall(rows, watch, NOW) is None


@given(st.floats(-1e9, 1e9))
def test_ages_change_once_a_minute_and_are_never_negative(seconds: float) -> None:
    """Two moments of one minute read the same; a file from the future is said to be one."""
    said = newest_age(seconds, UNICODE)
    if seconds >= 60:
        assert said == newest_age(60 * (seconds // 60), UNICODE)
    assert not said.startswith("−")


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@given(step=st.integers(0, 10**12), errors=st.integers(0, 3), title=st.text(max_size=80))
def test_the_header_is_one_full_line(width: int, step: int, errors: int, title: str) -> None:
    """Whatever is in it, the header has the screen's width and ends with the worker's state."""
    rows = tuple(replace(row, step=step) for row in REGULAR)
    alerts = [Alert("X", Severity.ERROR, None, 0, 0, "")] * errors
    line = header_line(
        Scene(title=safe(title), timeline=rows), LIVE, alerts, now=NOW, width=width, glyphs=UNICODE
    )
    text = "".join(span.text for span in line)
    assert line_width(line) == width
    assert text.endswith("● live ")
    assert ("error" in text) == bool(errors)


def test_the_status_tells_progress_queue_and_what_is_left_out() -> None:
    """Progress with its end, what is queued and waiting, ignored and unreadable."""
    watch = replace(
        LIVE,
        polled=wire.Polled(queued=3, waiting=1, ignored=2),
        progress=wire.Progress(512, 31, 100, 72.0, "compiling once"),
    )
    line = status_line(Scene(title=safe("x"), timeline=REGULAR), watch, (), "", 140, UNICODE)
    text = "".join(span.text for span in line)
    assert "step 512  31/100 tensors  1 m 12 s left  compiling once" in text
    assert "2 queued · 1 waiting · 2 ignored" in text


def test_the_panel_gets_the_room() -> None:
    """The sketch's tree at 80 and 120 columns; never more than 46 however wide the screen."""
    widths = {
        w: layout.divide(w, 40, alerts=4, zoom=False, metrics=True).tree for w in (80, 120, 400)
    }
    assert widths == {80: 36, 120: 44, 400: 46}
    assert layout.divide(120, 40, alerts=4, zoom=True, metrics=True).tree == 0


@given(st.integers(60, 400), st.integers(15, 200), st.integers(0, 1000), st.booleans())
def test_every_size_leaves_a_panel(width: int, height: int, alerts: int, metrics: bool) -> None:
    """From the smallest size on, tree and drawing have rows and columns left."""
    plan = layout.divide(width, height, alerts=alerts, zoom=False, metrics=metrics)
    assert width - plan.tree - 1 >= 30
    assert height - 2 - plan.alerts - 2 - plan.details >= 6


def test_following_and_scrubbing() -> None:
    """Landing moves a following view only; scrubbing stops at both ends."""
    view = model.landed(model.View(), REGULAR[:3])
    assert view.current == 3
    assert model.landed(view, REGULAR).current == 6
    back = model.scrubbed(view, REGULAR[:3], -1)
    assert (back.current, back.follow) == (2, False)
    assert model.landed(back, REGULAR).current == 2
    assert model.scrubbed(back, REGULAR, -99).current == 1
    assert model.scrubbed(back, REGULAR, 99).current == 6
    gone = model.landed(replace(back, baseline=1), REGULAR[3:])
    assert (gone.current, gone.baseline) == (6, None)


def test_every_action_has_a_key_and_every_move_an_action() -> None:
    """No key is given twice, no move hangs in the air, ids are unique."""
    keys = [key for binding in bindings() for key in binding.key.split(",")]
    assert len(keys) == len(set(keys))
    ids = [action.id for action in ACTIONS]
    assert len(ids) == len(set(ids))
    assert set(MOVES) <= set(ids)
    good, bad = keymap({"step-back": "w", "dance": "x", "help": " "})
    assert good == {"step-back": "w"}
    assert len(bad) == 2


@given(
    st.lists(
        st.one_of(
            st.text(max_size=5),
            st.sampled_from(
                [
                    "<backspace>",
                    "<delete>",
                    "<left>",
                    "<right>",
                    "<home>",
                    "<end>",
                    "<ctrl+w>",
                    "<ctrl+u>",
                ]
            ),
        )
    )
)
def test_the_filter_editor_never_leaves_its_text(keys: list[str]) -> None:
    """After any keys the cursor is in the text and the text holds no control character."""
    editor = Editor()
    for key in keys:
        edited = editor.pressed(key[1:-1]) if key.startswith("<") and key.endswith(">") else None
        editor = edited if edited is not None else editor.typed(key)
        assert 0 <= editor.at <= len(editor.text)
        assert editor.text.isprintable()
