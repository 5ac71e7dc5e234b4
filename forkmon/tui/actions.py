"""Every key of forkmon in one table: bindings, hints, help and the keymap come from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from textual.binding import Binding

if TYPE_CHECKING:
    from collections.abc import Mapping

Group = Literal["move", "time", "look", "alerts", "run"]

GROUPS: Mapping[Group, str] = {
    "move": "Where",
    "time": "When",
    "look": "How it is shown",
    "alerts": "What is wrong",
    "run": "Run and program",
}
"""The headings of the help screen, in order."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing a person can do."""

    id: str
    """The name a keymap uses."""
    keys: str
    """Textual's key names, comma-separated."""
    shown: str
    """The keys as the help writes them."""
    does: str
    group: Group


ACTIONS: tuple[Action, ...] = (
    Action("up", "up,k", "up k", "move up", "move"),
    Action("down", "down,j", "down j", "move down", "move"),
    Action("left", "left,h", "left h", "close, or go to the parent", "move"),
    Action("right", "right,l", "right l", "open, or go into it", "move"),
    Action("top", "home", "Home", "first row", "move"),
    Action("bottom", "end", "End", "last row", "move"),
    Action("page-up", "pageup", "PgUp", "one page up", "move"),
    Action("page-down", "pagedown", "PgDn", "one page down", "move"),
    Action("open", "enter,space", "enter space", "open or close; alerts: go there", "move"),
    Action("focus-next", "tab", "tab", "next pane", "move"),
    Action("focus-previous", "shift+tab", "shift+tab", "previous pane", "move"),
    Action("filter", "slash", "/", "filter: regex, !inverse, ~fuzzy", "move"),
    Action("clear", "escape", "esc", "clear filter, leave full screen", "move"),
    Action("sort", "s", "s", "sort by name, value, change, abnormality", "move"),
    Action("sort-reverse", "S", "S", "reverse the order", "move"),
    Action("step-back", "comma", ",", "one checkpoint back", "time"),
    Action("step-forward", "full_stop", ".", "one checkpoint forward", "time"),
    Action("step-first", "less_than_sign", "<", "first checkpoint", "time"),
    Action("step-newest", "greater_than_sign", ">", "newest checkpoint, and follow", "time"),
    Action("baseline", "b", "b", "compare with this checkpoint", "time"),
    Action("diff", "d", "d", "what differs from the baseline, most first", "time"),
    Action("pause", "p", "p", "pause or resume following", "time"),
    Action("panel-histogram", "1", "1", "panel: histogram", "look"),
    Action("panel-fork", "2", "2", "panel: fork diagram", "look"),
    Action("panel-curves", "3", "3", "panel: curves over steps", "look"),
    Action("panel-channels", "4", "4", "panel: channels of a matrix", "look"),
    Action("panel-overview", "5", "5", "panel: the whole model over steps", "look"),
    Action("panel-path", "6", "6", "panel: the run's path through weight space", "look"),
    Action("statistic", "v", "v", "choose the statistic", "look"),
    Action("value-scale", "y", "y", "value or count scale; cumulative", "look"),
    Action("step-scale", "x", "x", "step scale: log or linear", "look"),
    Action("closer", "plus,equals_sign", "+", "fewer steps, around the current one", "look"),
    Action("wider", "minus", "-", "more steps", "look"),
    Action("previous", "P", "P", "histogram: the checkpoint before, too", "look"),
    Action("fork-view", "c", "c", "fork: values, row norms, column norms", "look"),
    Action("zoom", "z", "z", "panel full screen", "look"),
    Action("provenance", "o", "o", "where the row's numbers come from", "look"),
    Action("alert-next", "n", "n", "next alert", "alerts"),
    Action("alert-previous", "N", "N", "previous alert", "alerts"),
    Action("alerts-only", "exclamation_mark", "!", "only layers with alerts", "alerts"),
    Action("explain", "e", "e", "explain the alert: its evidence", "alerts"),
    Action("acknowledge", "a", "a", "acknowledge the alert, or take that back", "alerts"),
    Action("mute", "m", "m", "mute alerts of this kind", "alerts"),
    Action("unmute", "M", "M", "hear all kinds again", "alerts"),
    Action("rescan", "r", "r", "look again, retry what failed", "run"),
    Action("palette", "ctrl+p,colon", "ctrl+p :", "every action by name", "run"),
    Action("help", "question_mark,f1", "?", "this help", "run"),
    Action("copy", "Y", "Y", "copy the panel as text", "run"),
    Action("screenshot", "ctrl+s", "ctrl+s", "save the screen as SVG", "run"),
    Action("suspend", "ctrl+z", "ctrl+z", "suspend to the shell", "run"),
    Action("leave", "q,ctrl+q", "q", "quit", "run"),
    Action("interrupt", "ctrl+c", "ctrl+c", "quit with exit code 130", "run"),
)
"""Everything that exists now, with its default keys."""

BY_ID: Mapping[str, Action] = {action.id: action for action in ACTIONS}


def bindings() -> list[Binding]:
    """Return the bindings of the main screen; their ids are what a keymap overrides."""
    return [
        Binding(action.keys, f"do({action.id!r})", action.does, show=False, id=action.id)
        for action in ACTIONS
    ]


def keymap(overrides: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return the overrides that name an action, and a sentence for each that does not."""
    good = {key: value for key, value in overrides.items() if key in BY_ID and value.strip()}
    bad = [f"keymap: no action is called {key!r}" for key in overrides if key not in BY_ID]
    bad += [f"keymap: {key!r} has no key" for key in overrides if key in BY_ID and key not in good]
    return good, bad


def keys_of(name: str, overrides: Mapping[str, str]) -> frozenset[str]:
    """Return the Textual names of an action's keys, after the user's keymap."""
    own = overrides.get(name, "").strip() or BY_ID[name].keys
    return frozenset(key.strip() for key in own.split(","))


def shown_keys(action: Action, overrides: Mapping[str, str]) -> str:
    """Return an action's keys as help and hints write them, after the user's keymap."""
    own = overrides.get(action.id)
    return action.shown if own is None else " ".join(key.strip() for key in own.split(","))
