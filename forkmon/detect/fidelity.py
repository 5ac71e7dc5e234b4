"""Branch fidelity: whether the elements of a fork stay on their side.

A bump of sampling noise or of rounding has no memory; a fork of weights has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from forkmon.detect.settings import Fork
from forkmon.stats.modality import Modality


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Agreement of the sides at two checkpoints, 0 to 1."""

    agreement: float
    """Share of the elements that stayed on their side."""
    balanced: float
    """Mean over the two sides of the share that stayed."""

    def enough(self, rule: Fork) -> bool:
        """Return whether both reach the rule's gates."""
        return self.agreement >= rule.agreement and self.balanced >= rule.balanced


def fidelity(before: Modality, after: Modality) -> Fidelity | None:
    """Return how far the sides agree; None where either has none, or samples differ in size."""
    if not before.sides or before.sampled != after.sampled:
        return None
    a, b = (int.from_bytes(one.sides, "little") for one in (before, after))
    n = before.sampled
    high, both = a.bit_count(), (a & b).bit_count()
    low = n - high
    if not high or not low:
        return None
    stayed_low = n - (a | b).bit_count()
    return Fidelity((both + stayed_low) / n, 0.5 * (both / high + stayed_low / low))


def weakest(measured: Sequence[Modality]) -> Fidelity | None:
    """Return the lowest agreements between successive checkpoints; None where none is known."""
    known = [found for a, b in pairwise(measured) if (found := fidelity(a, b)) is not None]
    if not known:
        return None
    return Fidelity(min(f.agreement for f in known), min(f.balanced for f in known))
