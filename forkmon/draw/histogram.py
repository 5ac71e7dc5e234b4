"""The histogram panel: one tensor's density now, over its baseline, with axes in values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from forkmon.draw import bars, cells
from forkmon.draw.canvas import Canvas
from forkmon.draw.density import Density, density_of
from forkmon.draw.glyphs import UNICODE, Glyphs
from forkmon.draw.ink import Ink, Line, Span
from forkmon.draw.numbers import share, short, step
from forkmon.draw.outline import draw_dashes, draw_outline
from forkmon.draw.scale import Linear, Scale, robust_range, symlog, tick_labels
from forkmon.draw.xaxis import draw_labels, draw_rule
from forkmon.stats.reduced import Reduced

COMPACT_BELOW = 8
"""Below this height there is no y axis, and below 5 no legend."""

_GUTTER = 7


@dataclass(frozen=True, slots=True)
class Legend:
    """What the three layers of a histogram are called."""

    current: str = "current"
    baseline: str = "baseline"
    previous: str = "previous"


@dataclass(frozen=True, slots=True)
class _Layers:
    current: bars.Profile
    baseline: bars.Profile | None
    previous: bars.Profile | None

    def others(self) -> list[bars.Profile]:
        return [item for item in (self.baseline, self.previous) if item]


@dataclass(frozen=True, slots=True)
class _Frame:
    """Where the bars stand on the canvas: columns from `x`, rows `top`..`bottom`."""

    x: int
    top: int
    bottom: int
    columns: int
    glyphs: Glyphs

    @property
    def rows(self) -> int:
        return self.bottom - self.top + 1


def histogram(  # noqa: PLR0913 - one keyword for each thing a key of the panel toggles
    current: Reduced,
    *,
    baseline: Reduced | None = None,
    previous: Reduced | None = None,
    width: int,
    height: int,
    glyphs: Glyphs = UNICODE,
    log_count: bool = False,
    cumulative: bool = False,
    scale: Literal["linear", "symlog"] = "linear",
    lo: float | None = None,
    hi: float | None = None,
    legend: Legend | None = None,
    probe: float | None = None,
) -> list[Line]:
    """Return `height` lines of `width` cells: density bars now, the baseline's outline over them.

    Bars are shares of all values per unit of value, so unequal cells never fake a hump. What
    equals zero (or the pivot) exactly is a spike with its share written beside it; what lies
    outside the axis is written at its end. `lo` and `hi` fix the value axis. `cumulative` draws
    the share of the values below instead. `probe` is a place on the axis, 0 to 1, that is read off.
    """
    if width <= 0 or height <= 0:
        return []
    sources = [
        density_of(item) if item and item.keys else None for item in (current, baseline, previous)
    ]
    shown = sources[0]
    if shown is None:
        return _nothing(width, height, glyphs)
    compact = height < COMPACT_BELOW or width < 4 * _GUTTER
    frame = _frame(width, height, glyphs, compact=compact)
    axis = _axis([item for item in sources if item], scale, (lo, hi))
    bounds = bars.edges(axis, frame.columns)
    measure = bars.below if cumulative else bars.profile
    profiles = [measure(item, bounds) if item else None for item in sources]
    layers = _Layers(measure(shown, bounds), profiles[1], profiles[2])
    rising = bars.rise(layers.current, layers.others(), bounds, log=log_count and not cumulative)
    if cumulative:
        rising = bars.Rise(1.0, 0.0)
    canvas = Canvas(width, height)
    _draw_layers(canvas, frame, layers, rising)
    if not compact:
        _draw_y(canvas, frame, rising)
        draw_rule(canvas, frame.x, frame.bottom + 1, _places(axis, frame), frame.columns, glyphs)
    if height > 1:
        _draw_x(canvas, frame, axis, layers.current)
    if probe is not None:
        _draw_probe(canvas, frame, probe)
    lines = canvas.lines()
    if probe is not None:
        lines[0] = _read_off(layers, axis, probe, width, glyphs, cumulative=cumulative)
    elif frame.top > 0:
        title = "share below" if cumulative else "log density" if rising.per_count else "density"
        spans = [] if compact else [Span(title, Ink.MUTED), Span("   ")]
        lines[0] = cells.fit(
            [*spans, *_legend(layers, rising, legend or Legend(), glyphs)], width, glyphs
        )
    return lines


def _draw_probe(canvas: Canvas, frame: _Frame, probe: float) -> None:
    column = frame.x + min(frame.columns - 1, int(probe * frame.columns))
    solid = None if frame.glyphs.full.isascii() else Ink.ACCENT
    for y in range(frame.top, frame.bottom + 1):
        over = None if canvas.free(column, y, 1) else solid
        canvas.put(column, y, frame.glyphs.mark, Ink.PREVIOUS, over)
    canvas.put(column, frame.bottom + 1, frame.glyphs.x_tick, Ink.PREVIOUS)


def _read_off(
    layers: _Layers, axis: Scale, probe: float, width: int, glyphs: Glyphs, *, cumulative: bool
) -> Line:
    """Return the line that says what lies under the cursor: value, density, mass below."""
    value = axis.value(probe)
    spans = [Span(f"at {short(value, 9, glyphs)}", Ink.TITLE)]
    for name, item, ink in (
        ("", layers.current, Ink.ACCENT),
        ("baseline", layers.baseline, Ink.BASELINE),
    ):
        if item is None:
            continue
        heights = item.heights
        at = min(len(heights) - 1, int(probe * len(heights)))
        below = item.source.below(value)
        if item.source.atom_mass and item.source.atom < value:
            below += item.source.atom_mass
        said = f"   {name + ': ' if name else ''}{share(below, item.source.n)} below"
        if not cumulative:
            said += f", density {short(heights[at], 7, glyphs)}"
        spans.append(Span(said, ink))
    return cells.fit(spans, width, glyphs)


def _nothing(width: int, height: int, glyphs: Glyphs) -> list[Line]:
    middle = (height - 1) // 2
    said = cells.pad("no finite values", width, "center", glyphs)
    return [
        (Span(said, Ink.MUTED),) if row == middle else cells.blank(width) for row in range(height)
    ]


def _frame(width: int, height: int, glyphs: Glyphs, *, compact: bool) -> _Frame:
    if not compact:
        return _Frame(_GUTTER, 1, height - 3, width - _GUTTER, glyphs)
    top = 1 if height >= 5 else 0
    return _Frame(0, top, height - 2 if height > 1 else 0, width, glyphs)


def _axis(
    sources: Sequence[Density],
    kind: Literal["linear", "symlog"],
    fixed: tuple[float | None, float | None],
) -> Scale:
    low, high = robust_range(sources, whole=kind == "symlog")
    lo = low if fixed[0] is None else fixed[0]
    hi = high if fixed[1] is None else fixed[1]
    if not lo < hi:
        lo, hi = low, high
    return symlog(sources, lo, hi) if kind == "symlog" else Linear(lo, hi)


def _draw_layers(canvas: Canvas, frame: _Frame, layers: _Layers, rising: bars.Rise) -> None:
    spiked = bars.capped(layers.current, rising)
    # The top row is kept for a spike and its label, so that the label hides no bar.
    rows = max(1, frame.rows - 1) if spiked else frame.rows
    tops = bars.levels(layers.current, rising, rows)
    atom = layers.current.columns.atom_column if spiked else None
    if atom is not None:
        tops[atom] = frame.rows * bars.EIGHTHS
    _draw_bars(canvas, frame, tops, layers.current)
    if layers.previous:
        heights = bars.levels(layers.previous, rising, rows)
        draw_dashes(canvas, (frame.x, frame.bottom, frame.rows), heights, tops, frame.glyphs)
    if layers.baseline:
        heights = bars.levels(layers.baseline, rising, rows)
        draw_outline(canvas, (frame.x, frame.bottom, frame.rows), heights, tops, frame.glyphs)
    if atom is not None and frame.rows > 1:
        _draw_atom_label(canvas, frame, layers.current.source, atom)


def _draw_bars(canvas: Canvas, frame: _Frame, tops: Sequence[int], shown: bars.Profile) -> None:
    blocks, full = frame.glyphs.vertical, frame.glyphs.full
    most = frame.rows * bars.EIGHTHS
    for column, (level, height) in enumerate(zip(tops, shown.heights, strict=True)):
        whole, part = divmod(min(level, most), bars.EIGHTHS)
        bar = full * whole + (blocks[part] if part else "")
        if not bar and (height > 0 or column == shown.columns.atom_column):
            bar = frame.glyphs.trace
        canvas.column(frame.x + column, frame.bottom, bar, Ink.ACCENT)


def _draw_atom_label(canvas: Canvas, frame: _Frame, shown: Density, column: int) -> None:
    label = _atom_words(shown, frame.glyphs)
    x = frame.x + column + 2
    if x + len(label) > canvas.width:
        x = max(frame.x, frame.x + column - 1 - len(label))
    canvas.put(x, frame.top, label, Ink.TITLE)


def _atom_words(shown: Density, glyphs: Glyphs) -> str:
    part = share(shown.atom_mass, shown.n)
    if shown.atom_mass == shown.n:
        part = f"all {step(shown.n, glyphs)} values"
    if shown.atom_high > shown.atom_low:
        low, high = tick_labels([shown.atom_low, shown.atom_high], glyphs)
        return f"{low} to {high}: {part}"
    return f"{tick_labels([shown.atom], glyphs)[0]}: {part}"


def _draw_y(canvas: Canvas, frame: _Frame, rising: bars.Rise) -> None:
    glyphs = frame.glyphs
    for y in range(frame.top, frame.bottom + 1):
        canvas.put(frame.x - 1, y, glyphs.divider, Ink.AXIS)
    ticks = rising.ticks(max(2, frame.rows // 4))
    for tick, label in zip(ticks, tick_labels(ticks, glyphs), strict=True):
        row = (max(1, rising.level(tick, frame.rows)) - 1) // bars.EIGHTHS
        y = frame.bottom - row
        if y < frame.top or len(label) > _GUTTER - 1:
            continue
        canvas.put(0, y, label.rjust(_GUTTER - 1), Ink.MUTED)
        canvas.put(frame.x - 1, y, glyphs.y_tick, Ink.AXIS)
    canvas.put(_GUTTER - 2, frame.bottom + 1, "0", Ink.MUTED)


def _places(axis: Scale, frame: _Frame) -> list[int]:
    ticks = axis.ticks(max(2, frame.columns // 12))
    return [min(frame.columns - 1, int(axis.place(tick) * frame.columns)) for tick in ticks]


def _draw_x(canvas: Canvas, frame: _Frame, axis: Scale, shown: bars.Profile) -> None:
    glyphs = frame.glyphs
    y = canvas.height - 1
    cut = shown.columns
    inside = cut.total(shown.source)
    if cut.left > inside * 1e-9:
        canvas.put(0, y, f"{glyphs.left} {share(cut.left, inside)}", Ink.WARN)
    if cut.right > inside * 1e-9:
        said = f"{share(cut.right, inside)} {glyphs.right}"
        canvas.put(canvas.width - len(said), y, said, Ink.WARN)
    ticks = axis.ticks(max(2, frame.columns // 12))
    labels = tick_labels(ticks, glyphs)
    draw_labels(canvas, y, [frame.x + place for place in _places(axis, frame)], labels)


def _legend(layers: _Layers, rising: bars.Rise, legend: Legend, glyphs: Glyphs) -> list[Span]:
    gap = Span("   ")
    spans = [Span(f"{glyphs.full} {legend.current}", Ink.ACCENT)]
    if layers.baseline:
        words = _other_words(legend.baseline, layers.baseline, rising, glyphs)
        spans += [gap, Span(f"{glyphs.baseline_sign} {words}", Ink.BASELINE)]
    if layers.previous:
        words = _other_words(legend.previous, layers.previous, rising, glyphs)
        spans += [gap, Span(f"{glyphs.previous} {words}", Ink.PREVIOUS)]
    return spans


def _other_words(name: str, item: bars.Profile, rising: bars.Rise, glyphs: Glyphs) -> str:
    """Return a layer's name, with what of it the drawing cannot show."""
    if bars.capped(item, rising):
        return f"{name} ({_atom_words(item.source, glyphs)})"
    if item.peak > rising.full * (1 + 1e-9):
        return f"{name} (peak {short(item.peak, 7, glyphs)})"
    return name
