"""What an alert is based on, in the same words for every kind."""

from __future__ import annotations

from math import isfinite

Value = float | int | str | None
Facts = dict[str, Value]


def evidence(
    statistic: str,
    value: float,
    threshold: float,
    *,
    window: int,
    n: int,
    expected: float,
    **more: Value,
) -> Facts:
    """Return the facts that every alert carries, and those of its kind.

    `window` counts checkpoints that the decision rests on, `n` the elements (or channels, tensors)
    measured at each. `expected` is how many false alarms this threshold gives in a healthy run of
    300 tensors and 150 checkpoints: 0 for what is told by exact equality.
    """
    facts: Facts = {
        "statistic": statistic,
        "value": rounded(value),
        "threshold": rounded(threshold),
        "window": window,
        "n": n,
        "expected_false_alarms": expected,
    }
    return facts | {name: rounded(v) if isinstance(v, float) else v for name, v in more.items()}


def rounded(value: float) -> float | None:
    """Return a number to six significant digits; None for one that JSON cannot hold."""
    return float(f"{value:.6g}") if isfinite(value) else None


def percent(change: float) -> str:
    """Return a change of a logarithm as people read it: `+12 %`, `x3.4`."""
    from math import exp

    ratio = exp(min(max(change, -700.0), 700.0))
    return f"{ratio - 1:+.0%}".replace("%", " %") if 0.5 < ratio < 2 else f"x{ratio:.3g}"


def counted(count: int, noun: str) -> str:
    """Return a count with its noun."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
