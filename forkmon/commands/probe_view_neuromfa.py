"""How NeuroMFA reads: alpha_0, width and E over steps, f(alpha) and the strip of layers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from forkmon.commands.probe_views import columns
from forkmon.draw import numbers
from forkmon.draw.glyphs import Glyphs
from forkmon.draw.sparkline import sparkline
from forkmon.probes.encoding import encode
from forkmon.probes.jackknife import Estimate
from forkmon.probes.neuromfa import PROBE, emergence
from forkmon.probes.neuromfa_values import Result
from forkmon.probes.outcome import Done


class NeuroMfaView:
    """The view of `neuromfa`."""

    def needs_reference(self, parameters: Mapping[str, object]) -> bool:
        """Return whether radii must be taken from the reference: robust mode, none named."""
        return parameters.get("mode") == "robust" and not parameters.get("first_radius")

    def following(self, parameters: Mapping[str, object], reference: Done) -> dict[str, object]:
        """Return parameters with the reference's radii: they stay fixed over steps."""
        return {**parameters, "first_radius": _result(reference).first_radius}

    def against(self, outcome: Done, reference: Done) -> dict[str, object]:
        """Return E, and the E of shuffled weights: the part of it that is scale."""
        real, shuffled = _degrees(_result(outcome), _result(reference))
        return {
            "emergence": None if real is None else encode(real),
            "shuffled_emergence": None if shuffled is None else encode(shuffled),
        }

    def table(self, outcomes: Sequence[Done], reference: Done, glyphs: Glyphs) -> Iterator[str]:
        """Yield a line for each step."""
        base = _result(reference)
        yield f"{base.rule}, {base.blocks:,} blocks, {base.matrices:,} matrices"
        if len(outcomes) > 1:
            yield f"E against step {reference.step:,}; that of shuffled weights is its scale part"
        if base.left_out:
            yield f"{base.left_out:,} matrices in blocks left out: their role is not known"
        rows = [_row(outcome, base, glyphs) for outcome in outcomes]
        titles = ("step", "alpha_0", "+-", "width", "+-", "E", "+-", "E shuffled", "w-w shuffled",
                  "r2", "neurons", "r_min")  # fmt: skip
        yield from columns(titles, rows, glyphs)
        series = [_result(outcome) for outcome in outcomes]
        if len(series) > 1:
            for name, values in (
                ("alpha_0", [found.real.alpha_0.value for found in series]),
                ("width", [found.real.width.value for found in series]),
            ):
                yield f"{name:<8} {sparkline(values, min(60, len(values)), glyphs)}"

    def panel(self, outcome: Done, glyphs: Glyphs) -> Iterator[str]:
        """Yield the spectrum, and the mean slope of each layer of neurons."""
        found = _result(outcome)
        rows = [
            (f"{q:+.0f}", *(f"{value:.3f}" for value in (tau, alpha, f)))
            for q, tau, alpha, f in list(
                zip(found.q, found.real.tau, found.real.alpha, found.real.f, strict=False)
            )[::10]
        ]
        yield ""
        yield from columns(("q", "tau", "alpha", "f"), rows, glyphs)
        yield ""
        yield "mean slope of neurons, first block to last"
        for site in dict.fromkeys(layer.site for layer in found.layers):
            means = [layer.mean for layer in found.layers if layer.site == site]
            known = [mean for mean in means if mean is not None]
            ends = f"{numbers.short(min(known))} to {numbers.short(max(known))}" if known else ""
            yield f"  {site:<8} {sparkline(means, min(64, len(means)), glyphs)}  {ends}".rstrip()


VIEW = NeuroMfaView()


def _result(outcome: Done) -> Result:
    return PROBE.read_result(outcome.result)


def _degrees(now: Result, base: Result) -> tuple[Estimate | None, Estimate | None]:
    real = emergence(now.real.samples, base.real.samples)
    if now.shuffled is None or base.shuffled is None:
        return real, None
    return real, emergence(now.shuffled.samples, base.shuffled.samples)


def _row(outcome: Done, base: Result, glyphs: Glyphs) -> tuple[str, ...]:
    found = _result(outcome)
    real, shuffled = _degrees(found, base)
    structure = None
    if found.shuffled is not None:
        structure = found.real.width.value - found.shuffled.width.value
    return (
        numbers.step(outcome.step, glyphs),
        *_estimate(found.real.alpha_0, glyphs),
        *_estimate(found.real.width, glyphs),
        *_estimate(real, glyphs),
        _estimate(shuffled, glyphs)[0],
        numbers.short(structure, 7, glyphs),
        numbers.short(found.real.r_squared, 7, glyphs),
        f"{found.kept:,}/{found.nodes:,}",
        numbers.short(found.first_radius, 7, glyphs),
    )


def _estimate(estimate: Estimate | None, glyphs: Glyphs) -> tuple[str, str]:
    if estimate is None:
        return glyphs.dash, glyphs.dash
    return f"{estimate.value:.3f}", numbers.short(estimate.error, 7, glyphs)
