"""Thresholds of every kind of alert, their presets, and which alerts nobody wants to see."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Final, cast

from forkmon.detect.rule import Rule
from forkmon.errors import UsageError
from forkmon.text import safe


@dataclass(frozen=True, slots=True)
class Fork:
    """SPLIT, MERGE, INIT_SPLIT: how a number of peaks becomes a state."""

    window: int = 4
    """Newest checkpoints looked at."""
    enough: int = 3
    """Of them must agree."""
    agreement: float = 0.85
    """Share of the elements that stay on their side from checkpoint to checkpoint."""
    balanced: float = 0.8
    """The same, as the mean of the two sides' shares: for small branches."""
    depth: float = 0.0
    """Least relative depth of the clearest valley, beyond what the measurement asks for."""
    z: float = 0.0
    """Least depth of the clearest valley in standard errors, or else ..."""
    p: float = 1.0
    """... the largest p of the dip; both beyond what the measurement asks for."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """FROZEN: a tensor stands still while others move."""

    moving: float = 0.5
    """Share of the tensors that must have moved."""
    ratio: float = 1e-3
    """Relative update below this share of its peers' median is standing still."""
    consecutive: int = 2


@dataclass(frozen=True, slots=True)
class Channel:
    """DEAD_ROWS and OUTLIER_CH: events of rows and columns."""

    dead: float = 0.01
    """Growth of the share of dead rows (or columns)."""
    times_median: float = 3.0
    """Least norm of an outlier, in medians."""
    consecutive: int = 2


@dataclass(frozen=True, slots=True)
class Sparse:
    """SPARSITY: exact zeros appear or go."""

    change: float = 0.01
    """Of the share of zeros, against its own recent median."""
    z: float = 6.0
    window: int = 16
    consecutive: int = 2


@dataclass(frozen=True, slots=True)
class Provenance:
    """PROVENANCE: a checkpoint holds another one's weights."""

    jump: float = 8.0
    """A tensor jumps out and back when both ways are this much longer than the way past."""
    jump_of_all: float = 3.0
    """The same where four of five tensors do it at once."""
    tensors: int = 3
    """Tensors that must agree (or half of all, where there are fewer)."""


@dataclass(frozen=True, slots=True)
class Runaway:
    """RUNAWAY: weights grow faster than any healthy training makes them."""

    growth: float = 4.0
    """Factor between two checkpoints."""
    exponent: float = 4.0
    """Least growth as a power of the step."""


@dataclass(frozen=True, slots=True)
class Among:
    """DIVERGE and PEER: a layer, or half of them, against the same place in the other layers."""

    layers: int = 12
    """Fewest layers that can part in two."""
    gap: float = 6.0
    """Least gap between the two families, in standard deviations within them."""
    share: float = 0.2
    """Least share of the layers in the smaller family."""
    peers: int = 6
    """Fewest layers that one can be held against."""
    standing: float = 16.0
    """Robust standard deviations off its peers."""
    effect: float = 0.35
    """Least distance from the peers' median, in log RMS."""
    lasting: int = 8
    """Checkpoints in a row for which a layer must stand off."""
    window: int = 4
    enough: int = 3
    """Of the newest checkpoints that must agree on two families."""


@dataclass(frozen=True, slots=True)
class Global:
    """GLOBAL: one event of the whole run, told once."""

    share: float = 0.3
    """Of the tensors that cross at once."""
    within: int = 2
    """Checkpoints that count as at once."""
    tensors: int = 3
    """Fewest tensors that make an event of the run."""


@dataclass(frozen=True, slots=True)
class Stalled:
    """STALLED: no checkpoint for longer than usual."""

    intervals: float = 4.0
    """Usual intervals without a checkpoint."""
    least_seconds: float = 120.0
    recent: int = 16
    """Intervals that say what is usual."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All thresholds; the defaults are the preset `default`."""

    preset: str = "default"
    fork: Fork = field(default_factory=Fork)
    regime: Rule = field(default_factory=Rule)
    """Of log RMS: effect .05 is a change of 5 % beyond the trend."""
    shape: Rule = field(default=Rule(limit=20.0, effect=0.5, floor=0.01))
    """Of excess kurtosis on a logarithmic scale, the effect in excess kurtosis itself."""
    drift: Rule = field(default=Rule(limit=20.0, effect=0.05, floor=2e-3))
    """Of the skew and of the log of the shoulders of the bulk."""
    rank: Rule = field(default=Rule(effect=0.2, floor=5e-3))
    """Of the log of the stable rank."""
    frozen: Frozen = field(default_factory=Frozen)
    channel: Channel = field(default_factory=Channel)
    sparse: Sparse = field(default_factory=Sparse)
    provenance: Provenance = field(default_factory=Provenance)
    runaway: Runaway = field(default_factory=Runaway)
    among: Among = field(default_factory=Among)
    whole: Global = field(default_factory=Global)
    stalled: Stalled = field(default_factory=Stalled)
    off: frozenset[str] = frozenset({"RANK"})
    """Kinds that are not looked for."""
    mute: tuple[re.Pattern[str], ...] = field(default=())
    """Alerts whose `KIND tensor` one of these finds are not told."""


DEFAULT: Final = Settings()

PRESETS: Final[Mapping[str, Settings]] = {
    "quiet": replace(
        DEFAULT,
        preset="quiet",
        fork=Fork(enough=4, depth=0.25, z=7.0, p=1e-9),
        regime=Rule(limit=28.0, effect=0.1),
        shape=Rule(limit=40.0, effect=1.0, floor=0.02),
        frozen=Frozen(consecutive=4),
        channel=Channel(dead=0.05, times_median=5.0, consecutive=4),
        stalled=Stalled(intervals=8.0),
        off=frozenset({"RANK", "DRIFT", "DIVERGE", "PEER", "TWIN", "INIT_SPLIT"}),
    ),
    "default": DEFAULT,
    "paranoid": replace(
        DEFAULT,
        preset="paranoid",
        fork=Fork(enough=2, window=3),
        regime=Rule(limit=7.0, slack=2.0, effect=0.03),
        shape=Rule(limit=12.0, slack=2.0, effect=0.25, floor=0.01),
        drift=Rule(limit=12.0, slack=2.0, effect=0.03, floor=2e-3),
        frozen=Frozen(ratio=1e-2),
        channel=Channel(dead=0.002, times_median=2.0),
        sparse=Sparse(change=0.002),
        stalled=Stalled(intervals=3.0),
    ),
}
"""How much is told. Their measured rates of false alarms: `tests/bench/evaluate.py`."""

_Table = Mapping[object, object]

_PATTERN_LIMIT = 200
_PLAIN = ("preset", "off", "mute")


def from_mapping(table: Mapping[str, object]) -> Settings:
    """Return the settings of a plain table, such as TOML gives; UsageError on anything unknown.

    `{"preset": "quiet", "regime": {"limit": 20}, "off": ["TWIN"], "mute": ["SPLIT embed"]}`.
    """
    name = table.get("preset", "default")
    if not isinstance(name, str) or name not in PRESETS:
        raise UsageError(f"no alert preset {safe(name)!r}; choose {', '.join(PRESETS)}")
    settings = PRESETS[name]
    groups = {f.name: getattr(settings, f.name) for f in fields(settings)}
    for key, value in table.items():
        group = groups.get(key)
        if is_dataclass(group) and isinstance(value, Mapping):
            changed: dict[str, Any] = {key: _group(key, group, cast("_Table", value))}
            settings = replace(settings, **changed)
        elif key not in _PLAIN:
            known = sorted(k for k, g in groups.items() if is_dataclass(g))
            raise UsageError(f"alerts.{safe(key)} is no table of: {', '.join(known)}")
    return replace(
        settings,
        off=settings.off | frozenset(_words(table, "off")),
        mute=tuple(_pattern(text) for text in _words(table, "mute")),
    )


def _group(key: str, group: object, table: _Table) -> object:
    assert is_dataclass(group) and not isinstance(group, type)  # noqa: S101, PT018 -- for types
    known = {f.name: getattr(group, f.name) for f in fields(group)}
    for name, value in table.items():
        if name not in known:
            raise UsageError(f"alerts.{key}.{safe(name)} is none of: {', '.join(known)}")
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value >= 0:
            raise UsageError(f"alerts.{key}.{safe(name)} must be a number of 0 or more")
        whole = isinstance(known[str(name)], int)
        if whole and not (float(value).is_integer() and value >= 1):
            raise UsageError(f"alerts.{key}.{safe(name)} must be a whole number of 1 or more")
        known[str(name)] = int(value) if whole else float(value)
    return replace(group, **known)


def _words(table: Mapping[str, object], key: str) -> tuple[str, ...]:
    found = table.get(key, ())
    words = tuple(cast("Sequence[object]", found)) if isinstance(found, (list, tuple)) else (None,)
    if not all(isinstance(word, str) for word in words):
        raise UsageError(f"alerts.{key} must be a list of strings")
    return tuple(str(word) for word in words)


def _pattern(text: str) -> re.Pattern[str]:
    if len(text) > _PATTERN_LIMIT:
        raise UsageError(f"alerts.mute: {safe(text, 40)} is longer than {_PATTERN_LIMIT}")
    try:
        return re.compile(text)
    except re.error as error:
        raise UsageError(f"alerts.mute: {safe(text)} is no pattern: {safe(error)}") from None
