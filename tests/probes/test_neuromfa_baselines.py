"""NeuroMFA of untrained models: what published shapes and initialisations must give."""

from __future__ import annotations

import numpy as np
import pytest

from forkmon.probes.neuromfa import analysed
from forkmon.probes.neuromfa_bins import Classes, counted
from forkmon.probes.neuromfa_counts import Nodes, Samples
from forkmon.probes.neuromfa_network import Network
from forkmon.probes.neuromfa_sampling import Site
from forkmon.probes.neuromfa_values import Parameters, Result
from forkmon.probes.protocol import Declined

SMALL = {
    "70m": (512, 6), "160m": (768, 12), "410m": (1024, 24), "1b": (2048, 16), "1.4b": (2048, 24),
    "2.8b": (2560, 32),
}  # fmt: skip


def untrained(
    layers: int, inner: float, outer: float, s: int, seeds: int
) -> tuple[Network, Samples]:
    """Return sampled Gaussian weights in f16: std `inner`, and `outer` where they leave a block."""
    classes, samples = Classes("paper", 150), []
    parts: tuple[tuple[Site, int, int, float], ...] = (
        ("stream", 3 * s, s, inner), ("heads", s, s, outer),
        ("middle", 2 * s, s, inner), ("hidden", s, 2 * s, outer),
    )  # fmt: skip
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        sample: list[Nodes] = []
        for block in range(layers):
            for site, outputs, inputs, std in parts:
                weights = (rng.standard_normal((outputs, inputs)) * std).astype(np.float16)
                counts = counted(classes, classes.of("f16", weights.view(np.uint16)))
                size = outputs * inputs
                sample.append(Nodes(block, site, 0, counts.astype(np.int32), None, size))
        samples.append(sample)
    return Network("gpt-neox", tuple(map(str, range(layers))), ()), samples


def result(network: Network, samples: Samples) -> Result:
    """Return the analysis of samples that has one."""
    found = analysed(network, samples, Parameters(surrogate=False))
    assert not isinstance(found, Declined)
    return found


@pytest.mark.parametrize(
    ("size", "s", "alpha_0", "error", "width", "kept"),
    [
        ("70m", 32, 1.385, 0.006, 0.738, 960), ("70m", 64, 1.584, 0.004, 0.823, 1920),
        ("160m", 32, 1.405, 0.004, 0.523, 1009), ("160m", 64, 1.482, 0.010, 0.654, 3783),
        ("410m", 32, 1.596, 0.004, 0.400, 1536), ("410m", 64, 1.768, 0.008, 0.340, 3072),
        ("1b", 32, 1.952, 0.004, 0.522, 1024), ("1.4b", 32, 1.952, 0.002, 0.506, 1536),
        ("1.4b", 64, 2.177, 0.003, 0.445, 3072), ("2.8b", 32, 2.072, 0.004, 0.537, 2048),
    ],
)  # fmt: skip
def test_untrained_models_have_their_known_metrics(
    size: str, s: int, alpha_0: float, error: float, width: float, kept: int
) -> None:
    """Small and Wang initialisation: alpha_0 within the stated error, the same neurons kept."""
    hidden, layers = SMALL[size]
    inner, outer = np.sqrt(2 / (5 * hidden)), 2 / (layers * np.sqrt(hidden))
    found = result(*untrained(layers, inner, outer, s, 6))
    assert found.real.alpha_0.value == pytest.approx(alpha_0, abs=error)
    assert found.real.width.value == pytest.approx(width, abs=0.025)
    assert found.kept / 6 == pytest.approx(kept, rel=0.01)
    assert found.nodes == 6 * 5 * layers * s


@pytest.mark.parametrize("layers", [32, 36])
def test_the_published_spectrum_of_untrained_models_comes_out(layers: int) -> None:
    """6.9B and 12B at step 1, std .02 and .02/sqrt(2L), 48 neurons: both ends of f(alpha)."""
    found = result(*untrained(layers, 0.02, 0.02 / np.sqrt(2 * layers), 48, 10))
    assert found.real.alpha_0_argmax == pytest.approx(1.685, abs=0.02)
    assert found.real.alpha[0] == pytest.approx(1.885, abs=0.02)
    assert found.real.f[0] == pytest.approx(-0.305, abs=0.02)
    assert found.real.alpha[-1] == pytest.approx(1.525, abs=0.02)
    assert found.real.f[-1] == pytest.approx(-0.23, abs=0.02)


def test_errors_are_those_of_repeated_samples() -> None:
    """The jackknife over ten samples: the stated sd of one, .0034 and .024, over sqrt(10)."""
    hidden, layers = SMALL["1.4b"]
    inner, outer = np.sqrt(2 / (5 * hidden)), 2 / (layers * np.sqrt(hidden))
    found = result(*untrained(layers, inner, outer, 32, 10))
    assert found.real.alpha_0.error == pytest.approx(0.0034 / np.sqrt(10), rel=1.0)
    assert found.real.width.error == pytest.approx(0.024 / np.sqrt(10), rel=0.6)


def outliers(mode: str, count: int) -> float:
    """Return alpha_0 of an untrained 1.4B sample to which large weights are added."""
    hidden, layers = SMALL["1.4b"]
    parameters = Parameters(mode="robust" if mode == "robust" else "paper", surrogate=False)
    classes = Classes(parameters.mode, 150)
    rng = np.random.default_rng(0)
    sample: list[Nodes] = []
    for block in range(layers):
        for site, outputs, inputs, std in (
            ("stream", 96, 32, np.sqrt(2 / (5 * hidden))),
            ("middle", 64, 32, np.sqrt(2 / (5 * hidden))),
        ):
            weights = (rng.standard_normal((outputs, inputs)) * std).astype(np.float32)
            weights[0, : count if block == 0 and site == "stream" else 0] = 0.6
            named: Site = "stream" if site == "stream" else "middle"
            counts = counted(classes, classes.of("f32", weights)).astype(np.int32)
            sample.append(Nodes(block, named, 0, counts, None, weights.size))
    network = Network("gpt-neox", tuple(map(str, range(layers))), ())
    found = analysed(network, [sample], parameters)
    assert not isinstance(found, Declined)
    return found.real.alpha_0.value


def test_robust_radii_do_not_feel_single_weights() -> None:
    """One |w| = .6 moves the paper's alpha_0 by a tenth and more; the robust one by nothing."""
    paper, robust = (
        [outliers("paper", n) for n in (0, 1, 3)],
        [outliers("robust", n) for n in (0, 1, 3)],
    )
    assert paper[0] == pytest.approx(1.952, abs=0.02)
    assert paper[1] < paper[0] - 0.1
    assert robust[1:] == pytest.approx([robust[0]] * 2, abs=1e-3)
