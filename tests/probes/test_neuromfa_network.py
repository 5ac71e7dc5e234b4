"""Which matrix is what in the network of neurons, told from names alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from forkmon.formats.logical_config import Numbers
from forkmon.formats.refs import TensorRef
from forkmon.probes.neuromfa_network import Network, from_tensors
from forkmon.probes.neuromfa_sampling import Plan as SamplePlan
from forkmon.probes.neuromfa_sampling import chosen, edges, pick
from forkmon.probes.protocol import Declined

H = 64
Shapes = dict[str, tuple[int, int]]

NEOX: Shapes = {
    "gpt_neox.layers.{}.attention.query_key_value.weight": (3 * H, H),
    "gpt_neox.layers.{}.attention.dense.weight": (H, H),
    "gpt_neox.layers.{}.mlp.dense_h_to_4h.weight": (4 * H, H),
    "gpt_neox.layers.{}.mlp.dense_4h_to_h.weight": (H, 4 * H),
}
GPT2: Shapes = {
    "transformer.h.{}.attn.c_attn.weight": (H, 3 * H),
    "transformer.h.{}.attn.c_proj.weight": (H, H),
    "transformer.h.{}.mlp.c_fc.weight": (H, 4 * H),
    "transformer.h.{}.mlp.c_proj.weight": (4 * H, H),
}
LLAMA: Shapes = {
    "model.layers.{}.self_attn.q_proj.weight": (H, H),
    "model.layers.{}.self_attn.k_proj.weight": (H // 4, H),
    "model.layers.{}.self_attn.v_proj.weight": (H // 4, H),
    "model.layers.{}.self_attn.o_proj.weight": (H, H),
    "model.layers.{}.mlp.gate_proj.weight": (3 * H, H),
    "model.layers.{}.mlp.up_proj.weight": (3 * H, H),
    "model.layers.{}.mlp.down_proj.weight": (H, 3 * H),
}
BERT: Shapes = {
    "bert.encoder.layer.{}.attention.self.query.weight": (H, H),
    "bert.encoder.layer.{}.attention.self.key.weight": (H, H),
    "bert.encoder.layer.{}.attention.self.value.weight": (H, H),
    "bert.encoder.layer.{}.attention.output.dense.weight": (H, H),
    "bert.encoder.layer.{}.intermediate.dense.weight": (4 * H, H),
    "bert.encoder.layer.{}.output.dense.weight": (H, 4 * H),
}
MOE: Shapes = {
    "model.layers.{}.self_attn.q_proj.weight": (H, H),
    "model.layers.{}.self_attn.o_proj.weight": (H, H),
    "model.layers.{}.block_sparse_moe.gate.weight": (4, H),
    **{f"model.layers.{{}}.block_sparse_moe.experts.{e}.{w}.weight": shape
       for e in range(4) for w, shape in (("w1", (2 * H, H)), ("w2", (H, 2 * H)))},
}  # fmt: skip
OPT: Shapes = {
    "decoder.layers.{}.self_attn.q_proj.weight": (H, H),
    "decoder.layers.{}.self_attn.out_proj.weight": (H, H),
    "decoder.layers.{}.fc1.weight": (4 * H, H),
    "decoder.layers.{}.fc2.weight": (H, 4 * H),
}


def refs(shapes: Shapes, blocks: int = 2) -> list[TensorRef]:
    """Return tensors of some blocks, with embeddings and vectors that belong to none."""
    found = [
        TensorRef(name.format(block), "bf16", shape, Path("x"), 0)
        for block in range(blocks)
        for name, shape in shapes.items()
    ]
    vector = TensorRef("model.layers.0.norm.weight", "bf16", (H,), Path("x"), 0)
    return [*found, vector, TensorRef("embed_in.weight", "bf16", (500, H), Path("x"), 0)]


def network(shapes: Shapes, *, conv1d: bool = False, blocks: int = 2, experts: int = 8) -> Network:
    """Return the network of a family's tensors."""
    found = from_tensors(refs(shapes, blocks), Numbers(), conv1d=conv1d, experts=experts)
    assert not isinstance(found, Declined)
    return found


@pytest.mark.parametrize(
    ("shapes", "rule", "roles"),
    [
        (NEOX, "gpt-neox", ["qkv", "o", "up", "down"]),
        (LLAMA, "llama", ["q", "k", "v", "o", "up", "up", "down"]),
        (BERT, "transformer", ["q", "k", "v", "o", "up", "down"]),
        (OPT, "transformer", ["q", "o", "up", "down"]),
    ],
)
def test_families_are_mapped(shapes: Shapes, rule: str, roles: list[str]) -> None:
    """Every matrix of every block has its role; embeddings and vectors are none."""
    found = network(shapes, blocks=11)
    assert found.rule == rule
    assert [m.role for m in found.matrices] == roles * 11
    assert [m.block for m in found.matrices] == [b for b in range(11) for _ in roles]
    assert found.blocks[10].endswith("10")
    assert found.left_out == 0


def test_the_experts_of_a_router_are_layers_of_their_own() -> None:
    """The router is left out and counted; `experts` caps how many are looked at."""
    found = network(MOE)
    assert found.left_out == 2
    assert sorted({m.expert for m in found.matrices}) == [0, 1, 2, 3, 4]
    assert len({m.expert for m in network(MOE, experts=2).matrices}) == 3


def test_other_models_have_each_matrix_by_itself() -> None:
    """No role known: a layer a matrix. No matrix at all: what was looked for is said."""
    plain = [TensorRef("fc.weight", "f32", (10, 20), Path("x"), 0)]
    found = from_tensors(plain, Numbers())
    assert not isinstance(found, Declined)
    assert (found.rule, [m.role for m in found.matrices]) == ("any", ["other"])
    nothing = from_tensors([TensorRef("b", "f32", (10,), Path("x"), 0)], Numbers())
    assert isinstance(nothing, Declined)
    assert "query_key_value" in nothing.reason


def test_neurons_are_the_same_on_both_sides() -> None:
    """What a matrix writes to is what the next one reads from, over blocks too; by seed alone."""
    found = network(NEOX)
    s = 8
    by = {(m.block, m.role): chosen(m, place, 3, s) for place, m in enumerate(found.matrices)}
    outputs, inputs = by[0, "qkv"]
    third = outputs[:s]
    assert (len(outputs), len(inputs)) == (3 * s, s)
    assert outputs.tolist() == [*third, *(third + H), *(third + 2 * H)]
    assert by[0, "o"][1].tolist() == third.tolist()
    assert by[0, "o"][0].tolist() == by[0, "up"][1].tolist()
    assert by[0, "up"][0].tolist() == by[0, "down"][1].tolist()
    assert len(by[0, "up"][0]) == 2 * s
    assert by[0, "down"][0].tolist() == by[1, "qkv"][1].tolist()
    assert by[0, "qkv"][1].tolist() != by[1, "qkv"][1].tolist()


def test_gates_share_the_hidden_neurons() -> None:
    """Llama: gate and up lead to the same hidden neurons, q to those that o reads."""
    matrices = network(LLAMA).matrices[:7]
    q, k, v, o, gate, up, down = (chosen(m, i, 0, 8) for i, m in enumerate(matrices))
    assert gate[0].tolist() == up[0].tolist() == down[1].tolist()
    assert q[0].tolist() == o[1].tolist()
    assert k[0].tolist() == v[0].tolist()
    assert (q[1].tolist(), len(k[0])) == (k[1].tolist(), 8)


@pytest.mark.parametrize(("size", "count"), [(10, 3), (10, 9), (5000, 32), (7, 7), (7, 20), (7, 0)])
def test_picks_are_distinct_and_in_order(size: int, count: int) -> None:
    """Without replacement, ascending; everything where more is asked for or 0."""
    found = pick(1, (0, 2, 0), size, count)
    assert len(found) == (count if 0 < count < size else size)
    assert (np.diff(found) > 0).all()
    assert 0 <= found[0] <= found[-1] < size


def test_picks_are_uniform() -> None:
    """Every position comes up as often as another, up to chance."""
    counts = np.zeros(50)
    for seed in range(2000):
        counts[pick(seed, (0, 0, 0), 50, 5)] += 1
    assert (abs(counts - 200) < 6 * np.sqrt(200)).all()


@pytest.mark.parametrize(("shapes", "conv1d"), [(NEOX, False), (GPT2, True), (LLAMA, False)])
def test_only_the_rows_of_sampled_neurons_are_read(shapes: Shapes, conv1d: bool) -> None:
    """Each once, whatever the samples share; the edges are the elements asked for."""
    for place, matrix in enumerate(network(shapes, conv1d=conv1d, blocks=1).matrices):
        turned = conv1d and matrix.role == "qkv"
        assert matrix.turned == turned
        values = np.arange(matrix.tensor.size, dtype=np.uint16).reshape(matrix.tensor.shape)
        read: list[int] = []

        def fill(tensor: TensorRef, first: int, out: memoryview) -> None:
            data = values.ravel()[first : first + out.nbytes // 2]  # noqa: B023
            out[:] = data.tobytes()
            length = tensor.shape[1]
            read.extend(range(first // length, (first + len(data)) // length))  # noqa: B023

        plan = SamplePlan(4, 3)
        wanted: set[int] = set()
        for seed, part in enumerate(edges(matrix, place, plan, fill)):
            outputs, inputs = chosen(matrix, place, seed, 4)
            stored = values.T if turned else values
            assert (part.values == stored[np.ix_(outputs, inputs)]).all()
            wanted |= set((inputs if turned else outputs).tolist())
        assert read == sorted(wanted)
