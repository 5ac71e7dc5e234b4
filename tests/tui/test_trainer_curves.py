"""The trainer's curves beside the statistics, roles apart, and where numbers come from."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from textual.app import App
from textual.pilot import Pilot

from forkmon.draw.ink import plain
from forkmon.draw.multiples import MOMENTS, Beside, moment_panel
from forkmon.stats.notes import OF_CHECKPOINT, Note, Whereabouts
from forkmon.stats.series import Series
from forkmon.tui import tree_model
from forkmon.tui.app import ForkmonApp, Launch
from forkmon.tui.screens.sheet import Sheet
from forkmon.tui.trainer import logged
from forkmon.tui.widgets.line_view import LineView

if TYPE_CHECKING:
    from conftest import Maker

MakeStore = Callable[..., "Maker"]
LaunchOf = Callable[..., Launch]
Until = Callable[..., Awaitable[None]]

METRICS = {
    "train/loss": [(step, 5.0 - step / 100) for step in range(0, 40, 2)],
    "lr-AdamW": [(step, 1e-3) for step in range(0, 40, 2)],
    "train/grad_norm": [(step, 1.0 + step % 3) for step in range(0, 40, 2)],
    "[red]\x1b[2J": [(4, 1.0), (8, 2.0)],
}


def text(app: ForkmonApp, view: str) -> str:
    """Return the text of a pane of the main screen."""
    return "\n".join(plain(app.main.query_one(f"#{view}", LineView).lines))


def sheet_text(app: App[int]) -> str:
    """Return the text of the sheet on top."""
    return "\n".join(plain(app.screen.query_one("#sheet", LineView).lines))


async def ready(app: ForkmonApp, pilot: Pilot[int], until: Until) -> None:
    """Wait until the store is on the screen."""
    await until(pilot, lambda: bool(app.main.desk.scene.timeline), "the first scene")
    await pilot.pause()


@pytest.mark.parametrize(
    ("size", "shown"),
    [((80, 24), ("std", "loss")), ((120, 40), ("std", "loss", "lr", "grad norm"))],
)
async def test_the_loss_stands_beside_the_statistic(
    make_store: MakeStore,
    launch_of: LaunchOf,
    until: Until,
    size: tuple[int, int],
    shown: tuple[str, ...],
) -> None:
    """Panel 3 shows both on one axis of steps, the trainer's under its usual and own name."""
    maker = make_store()
    maker.writer.set_metrics(METRICS)
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=size) as pilot:
        await ready(app, pilot, until)
        await pilot.press("3")
        await until(pilot, lambda: "train/loss" in text(app, "panel"), "the loss")
        said = text(app, "panel")
        assert all(f"{name}  " in said for name in shown)
        axes = re.findall(r"step((?: +[0-9,]+)+)", said)
        assert len(axes) >= len(shown)
        assert len({tuple(axis.split()) for axis in axes}) == 1
        assert "loss 4.84" in text(app, "details")


async def test_a_logged_curve_is_chosen_like_a_statistic(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """`v` offers them after the statistics, by safe names; the choice comes first, also on `y`."""
    maker = make_store()
    maker.writer.set_metrics(METRICS)
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("v")
        await until(pilot, lambda: isinstance(app.screen, Sheet), "the list")
        await pilot.press("end")
        await until(pilot, lambda: "logged as lr-AdamW" in sheet_text(app), "the end of the list")
        assert "\x1b" not in sheet_text(app)
        await pilot.press("up", "enter")
        await until(pilot, lambda: "grad norm  " in text(app, "panel"), "the gradient norm")
        assert text(app, "panel").lstrip().startswith("grad norm")
        assert " std " in text(app, "tree")
        await pilot.press("y")
        await until(pilot, lambda: "logarithmic" in text(app, "panel"), "the log axis")
        assert text(app, "panel").lstrip().startswith("grad norm")


async def test_the_provenance_of_a_tensor_is_one_key_away(
    make_store: MakeStore, launch_of: LaunchOf, until: Until
) -> None:
    """Name and place on disk, the part it is, the role, the checkpoint and how it was finished."""
    maker = make_store((0, 1, 2))
    first, *_, last = maker.writer.reader().timeline()
    name = "blocks.0.attn.k.weight"
    note = Note("rows 1-2 of qkv", "model-00002-of-00002.safetensors", 1_234, 1, 1, "module.k\x1b")
    maker.writer.set_notes(
        [(name, note.encode()), (OF_CHECKPOINT, Whereabouts(last.id, "heuristic").encode())]
    )
    app = ForkmonApp(launch_of(maker))
    async with app.run_test(size=(120, 40)) as pilot:
        await ready(app, pilot, until)
        await pilot.press("down", "down", "right", "down", "o")
        await until(pilot, lambda: isinstance(app.screen, Sheet), "the sheet")
        said = sheet_text(app)
        assert name in said
        assert "module.k\\u{1b}" in said
        assert "byte 1,234 of model-00002-of-00002.safetensors" in said
        assert "rows 1-2 of qkv" in said
        assert "model: the weights" in said
        assert "no marker" in said
        assert "analysed last" not in said
        await pilot.press("escape", "less_than_sign", "o")
        await until(pilot, lambda: isinstance(app.screen, Sheet), "the sheet again")
        assert "in the checkpoint analysed last" in sheet_text(app)
        assert "no marker" not in sheet_text(app)
    assert first.id != last.id


@dataclass(frozen=True)
class Entry:
    """A tensor or block of the store."""

    id: int
    name: str
    kind: str = "tensor"
    role: str = "model"


def test_equal_names_of_other_roles_have_a_branch_of_their_own() -> None:
    """The model stands at the root, each other role below its name, closed; no row is lost."""
    names = ("h.0.w", "h.1.w", "head")
    entries = [
        Entry(10 * at + i, name, role=role)
        for at, role in enumerate(("model", "ema", "optimizer"))
        for i, name in enumerate(names)
    ]
    tree = tree_model.build([*entries, Entry(99, "", "block", "ema")], "net")
    assert tree.tensors == 9
    found = {node.path: node.entry for node in tree.nodes}
    assert [found[f"{at}{name}"] for at in ("", "ema.", "optimizer.") for name in names] == [
        0, 1, 2, 10, 11, 12, 20, 21, 22,
    ]  # fmt: skip
    assert found["ema"] == 99
    assert {"ema", "optimizer"} <= tree.initially_closed()
    order = [node.path for node in tree.nodes if node.depth == 1]
    assert order == ["h", "head", "ema", "optimizer"]


def test_a_module_called_like_a_role_does_not_swallow_it() -> None:
    """The model's own `ema` and the role stay two branches."""
    entries = [Entry(1, "ema.w"), Entry(2, "w", role="ema"), Entry(3, "w")]
    tree = tree_model.build(entries, "net")
    assert {node.entry for node in tree.nodes} >= {1, 2, 3}
    assert tree.tensors == 3


def series(steps: tuple[int, ...]) -> Series:
    """Return the columns of a row."""
    return Series("w", steps, {name: tuple(float(s) for s in steps) for name in MOMENTS})


@pytest.mark.parametrize("many", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("size", [(41, 16), (41, 7), (73, 28), (73, 21), (110, 30), (20, 3)])
def test_every_size_has_the_statistic_and_its_lines(size: tuple[int, int], many: int) -> None:
    """As many lines as asked for; the selected statistic is always there, or the leading curve."""
    beside = [Beside(f"curve{i}", f"own{i}", (0, 5, 9), (1.0, 2.0, 3.0)) for i in range(many)]
    width, height = size
    for lead in (False, True):
        lines = moment_panel(
            series((0, 4, 8)), width=width, height=height, selected="std", beside=beside, lead=lead
        )
        assert len(lines) == height
        said = "\n".join(plain(lines))
        assert ("curve0" if lead and many else "std") in said
        if many and height >= 14:
            assert "curve0" in said


def test_curves_are_ordered_by_what_they_mean() -> None:
    """Loss, rate and gradient norm first; a value is the last one up to a step."""
    curves = logged(METRICS)
    assert [curve.label for curve in curves[:3]] == ["loss", "lr", "grad norm"]
    assert "\x1b" not in curves[3].label
    assert curves[0].at(5) == 5.0 - 4 / 100
    assert curves[0].at(-1) is None
    assert curves[0].at(None) == 5.0 - 38 / 100
    assert logged({}) == logged(None) == []
