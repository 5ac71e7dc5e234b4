"""Numbers as people read them: three significant digits, SI counts, steps, percents, ages."""

from __future__ import annotations

from math import inf, isnan

from forkmon.draw.glyphs import UNICODE, Glyphs

DIGITS = 3
"""Significant digits of a number on the screen."""

_SI = ("", "k", "M", "G", "T", "P", "E")
MINUTE, HOUR, DAY = 60, 3600, 86400


def short(value: float | None, width: int = 7, glyphs: Glyphs = UNICODE) -> str:
    """Return a number in three significant digits, fewer where `width` cells do not hold them.

    `.0413`, `-.310`, `12.3`, `1235`, `1.23e-3`; a missing number is a dash. Seven cells hold any
    float; a narrower width that cannot hold even one digit is overrun rather than lied about.
    """
    if value is None:
        return glyphs.dash
    if isnan(value):
        return "nan"
    if value in (inf, -inf):
        return ("inf" if value > 0 else "-inf").replace("-", glyphs.minus)
    if value == 0:
        return "0"
    text = ""
    for digits in range(DIGITS, 0, -1):
        text = _written(value, digits, width)
        if len(text) <= width:
            break
    return text.replace("-", glyphs.minus)


def count(number: int | None, glyphs: Glyphs = UNICODE) -> str:
    """Return a count in SI: `512`, `1.23 k`, `12.3 M`."""
    if number is None:
        return glyphs.dash
    sign = glyphs.minus if number < 0 else ""
    return sign + _si(abs(number), 1000)


def bytesize(number: int | None, glyphs: Glyphs = UNICODE) -> str:
    """Return a size in decimal units of bytes: `512 B`, `12.3 MB`."""
    if number is None:
        return glyphs.dash
    text = count(number, glyphs)
    return f"{text}B" if " " in text else f"{text} B"


def step(number: int | None, glyphs: Glyphs = UNICODE) -> str:
    """Return a step with thousands separators: `2,048`."""
    return glyphs.dash if number is None else f"{number:,}".replace("-", glyphs.minus)


def percent(ratio: float | None, glyphs: Glyphs = UNICODE) -> str:
    """Return a relative change in at most six cells: `+14 %`, `-.3 %`, `0 %`, `>+1k %`."""
    if ratio is None or isnan(ratio):
        return glyphs.dash
    hundredths = ratio * 100
    if abs(hundredths) >= 999.5:
        return ">+1k %" if ratio > 0 else f"<{glyphs.minus}1k %"
    text = _hundredths(abs(hundredths))
    if text == "0":
        return "0 %"
    return f"{'+' if ratio > 0 else glyphs.minus}{text} %"


def share(part: float, whole: float = 1.0) -> str:
    """Return a share of a whole without a sign: `37 %`, `.3 %`, `<.1 %`, `0 %`.

    What is short of everything never reads `100 %`.
    """
    if whole <= 0 or part <= 0:
        return "0 %"
    hundredths = 100 * part / whole
    text = _hundredths(hundredths)
    if text == "0":
        return "<.1 %"
    return ">99 %" if text == "100" and part < whole else f"{text} %"


def age(seconds: float | None, glyphs: Glyphs = UNICODE) -> str:
    """Return how long ago in words: `45 s ago`, `2 m 10 s ago`, `9 m ago`, `3 h ago`, `2 d ago`."""
    if seconds is None or isnan(seconds):
        return glyphs.dash
    if seconds < 1:
        return "just now"
    if seconds < 5 * MINUTE:
        return f"{duration(float(int(seconds)))} ago"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} m ago"
    if seconds < DAY:
        return f"{int(seconds // HOUR)} h ago"
    return f"{seconds // DAY:,.0f} d ago"


def duration(seconds: float | None, glyphs: Glyphs = UNICODE) -> str:
    """Return a length of time in its two largest units: `340 ms`, `1 m 05 s`, `2 h 05 m`."""
    if seconds is None or isnan(seconds) or seconds in (inf, -inf):
        return glyphs.dash
    if seconds < 0.9995:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if seconds < 9.95 and seconds != int(seconds):
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return _two(whole, MINUTE, 1, "ms")
    if whole < DAY:
        return _two(whole, HOUR, MINUTE, "hm")
    return _two(whole, DAY, HOUR, "dh")


def eta(seconds: float | None, glyphs: Glyphs = UNICODE) -> str:
    """Return the time left in words: `2 m 10 s left`; a dash where nobody knows."""
    if seconds is None or isnan(seconds) or seconds in (inf, -inf):
        return glyphs.dash
    return f"{duration(float(round(seconds)), glyphs)} left" if seconds >= 1 else "nearly done"


def _two(whole: int, big: int, small: int, names: str) -> str:
    many, rest = divmod(whole, big)
    rest //= small
    return f"{many:,} {names[0]} {rest:02d} {names[1]}" if rest else f"{many:,} {names[0]}"


def _written(value: float, digits: int, width: int) -> str:
    """Return `value` in `digits` significant digits, with a minus of ASCII."""
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    power = int(exponent)
    if -2 <= power < 0:
        return f"{value:.{digits - 1 - power}f}".replace("0.", ".", 1)
    if 0 <= power < digits:
        return f"{value:.{digits - 1 - power}f}"
    whole = f"{value:.0f}"
    if 0 <= power < 5 and len(whole) <= width:
        return whole
    return f"{mantissa}e{power}"


def _si(number: float, base: int) -> str:
    unit = 0
    while number >= 999.5 and unit < len(_SI) - 1:
        number /= base
        unit += 1
    if unit == 0:
        return f"{number:.0f}"
    decimals = 2 if number < 9.995 else 1 if number < 99.95 else 0
    return f"{number:,.{decimals}f} {_SI[unit]}"


def _hundredths(value: float) -> str:
    """Return a non-negative number of hundredths: `37`, `.3`, `0`."""
    if value >= 0.95:
        return f"{value:.0f}"
    return f"{value:.1f}".removeprefix("0") if value >= 0.05 else "0"
