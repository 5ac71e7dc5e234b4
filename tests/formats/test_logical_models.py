"""Real models: the parts are what the model's own code takes for queries, keys and values.

Each model looks at one token at position 0, where rotary embeddings change nothing. What its
attention is handed must be what the logical parts make of the input of the fused layer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from forkmon.formats.logical import logical_listing
from forkmon.formats.logical_rules import parse_rule
from forkmon.formats.reading import OpenFiles
from forkmon.formats.refs import Listing, TensorRef
from forkmon.runs.refs import CheckpointRef

pytest.importorskip("transformers")

RefOf = Callable[..., CheckpointRef]
Values = NDArray[np.float32]
Saved = tuple[Listing, dict[str, Values]]

SMALL = {
    "vocab_size": 40, "hidden_size": 32, "intermediate_size": 20, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "pad_token_id": 0, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
GPT2_SIZES = {
    "vocab_size": 40, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 8, "bos_token_id": 1,
    "eos_token_id": 2,
}  # fmt: skip
FALCON = {"bos_token_id": 1, "eos_token_id": 2, **SMALL, "bias": True}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Let other people's libraries warn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def build(family: str, **sizes: Any) -> Any:
    """Return a small random model of a family, with biases that are not zero."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    text = f"{family}TextConfig"
    config = getattr(transformers, text if hasattr(transformers, text) else f"{family}Config")(
        **sizes
    )
    name = next(n for n in ("LMHeadModel", "ForCausalLM") if hasattr(transformers, family + n))
    model = getattr(transformers, family + name)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    return model


def saved(model: Any, where: Path, ref_of: RefOf, **options: Any) -> Saved:
    """Save a model as its library does, and read it back in logical tensors."""
    model.save_pretrained(where, **options)
    ref = ref_of(*where.glob("*.safetensors"), path=where)
    listing = logical_listing(ref)
    with OpenFiles(ref) as files:
        return listing, {tensor.name: read(files, tensor) for tensor in listing.tensors}


def read(files: OpenFiles, tensor: TensorRef) -> Values:
    """Return a tensor's values, read in chunks of an odd size."""
    out = np.zeros(tensor.size, np.float32)
    for first in range(0, tensor.size, 101):
        files.read_into(tensor, first, memoryview(out)[first : first + 101])
    return out.reshape(tensor.shape)


def handed_over(model: Any, fused: str) -> tuple[list[Values], list[tuple[Values, ...]]]:
    """Return, layer by layer, what goes into the fused layer, and the q, k and v that come out."""
    import torch
    from transformers import AttentionInterface

    inputs: list[Values] = []
    outputs: list[tuple[Values, ...]] = []

    def capture(module: Any, q: Any, k: Any, v: Any, *_: Any, **__: Any) -> Any:
        outputs.append(tuple(t.detach().numpy().ravel() for t in (q, k, v)))
        return torch.zeros_like(q).transpose(1, 2), None

    for name, module in model.named_modules():
        if name.endswith(fused):
            module.register_forward_pre_hook(
                lambda _, given: inputs.append(given[0].detach().numpy().ravel())
            )
    heard = [_listens(module, outputs) for module in model.modules()]
    if True not in heard:
        AttentionInterface.register("capture", capture)
        model.set_attn_implementation("capture")
    with torch.no_grad():
        model(torch.tensor([[7]]), use_cache=False)
    return inputs, outputs


def _listens(module: Any, outputs: list[tuple[Values, ...]]) -> bool:
    """Listen where a model of the older kind cuts the fused states, or hands them over."""
    splitter = next((n for n in ("_split_heads", "_reshape") if hasattr(module, n)), None)
    if hasattr(module, "_attn"):
        _listen_attention(module, outputs)
    elif splitter and hasattr(module, "query_key_value"):
        _listen(module, splitter, outputs)
    else:
        return False
    return True


def _listen_attention(module: Any, outputs: list[tuple[Values, ...]]) -> None:
    attend = module._attn

    def listening(q: Any, k: Any, v: Any, *more: Any, **named: Any) -> Any:
        outputs.append(tuple(part.detach().numpy().ravel() for part in (q, k, v)))
        return attend(q, k, v, *more, **named)

    module._attn = listening


def _listen(module: Any, splitter: str, outputs: list[tuple[Values, ...]]) -> None:
    split = getattr(module, splitter)

    def listening(states: Any) -> Any:
        parts = split(states)
        outputs.append(tuple(part.detach().numpy().ravel() for part in parts))
        return parts

    setattr(module, splitter, listening)


MODELS = [
    pytest.param("GPTNeoX", SMALL, "query_key_value", id="neox"),
    pytest.param("GPTNeoXJapanese", SMALL, "query_key_value", id="neox-japanese"),
    pytest.param("GPT2", GPT2_SIZES, "c_attn", id="gpt2"),
    pytest.param("Phi3", SMALL, "qkv_proj", id="phi3"),
    pytest.param("Phi3", {**SMALL, "num_key_value_heads": None}, "qkv_proj", id="phi3-mha"),
    pytest.param("Bloom", {**SMALL, "n_head": 4, "n_layer": 2}, "query_key_value", id="bloom"),
    pytest.param("Falcon", {**FALCON, "multi_query": True}, "query_key_value", id="falcon-7b"),
    pytest.param("Falcon", {**FALCON, "multi_query": False}, "query_key_value", id="falcon-rw"),
    pytest.param(
        "Falcon", {**FALCON, "new_decoder_architecture": True, "num_kv_heads": 2},
        "query_key_value", id="falcon-40b",
    ),
    pytest.param("GPTBigCode", GPT2_SIZES, "c_attn", id="bigcode"),
    pytest.param("GPTBigCode", {**GPT2_SIZES, "multi_query": False}, "c_attn", id="bigcode-mha"),
    pytest.param("Persimmon", {**SMALL, "qk_layernorm": False}, "query_key_value", id="persimmon"),
    pytest.param("CodeGen", {**GPT2_SIZES, "rotary_dim": 2}, "qkv_proj", id="codegen"),
]  # fmt: skip


@pytest.mark.parametrize(("family", "sizes", "fused"), MODELS)
def test_parts_are_what_the_model_splits(
    tmp_path: Path, ref_of: RefOf, family: str, sizes: dict[str, Any], fused: str
) -> None:
    """weight_q @ x + bias_q is the q that attention gets; likewise k and v, in every layer."""
    model = build(family, **sizes)
    listing, values = saved(model, tmp_path, ref_of)
    inputs, outputs = handed_over(model, fused)
    assert len(inputs) == len(outputs) == 2
    assert listing.notes == ()
    for layer, (given, handed) in enumerate(zip(inputs, outputs, strict=True)):
        stem = next(n for n in values if f".{layer}." in n and f".{fused}.q.weight" in n)
        stem = stem.removesuffix(".q.weight")
        q = _projected(listing, values, f"{stem}.q", given)
        assert np.allclose(q, handed[0], atol=1e-5), "q"
        for part, seen in zip("kv", handed[1:], strict=True):
            mine = _projected(listing, values, f"{stem}.{part}", given)
            if seen.size > mine.size:  # handed over once for each q that shares it
                mine = np.repeat(mine.reshape(-1, 8), seen.size // mine.size, axis=0).ravel()
            assert np.allclose(mine, seen, atol=1e-5), part


def test_the_comparison_sees_a_wrong_layout(tmp_path: Path, ref_of: RefOf) -> None:
    """Read in blocks, as the config of another family would have it, NeoX has other queries."""
    model = build("GPTNeoX", **SMALL)
    saved(model, tmp_path, ref_of)
    blocks = parse_rule({"pattern": "query_key_value"}, "test")
    ref = ref_of(*tmp_path.glob("*.safetensors"), path=tmp_path)
    listing = logical_listing(ref, (blocks,))
    with OpenFiles(ref) as files:
        values = {tensor.name: read(files, tensor) for tensor in listing.tensors}
    inputs, outputs = handed_over(model, "query_key_value")
    q = _projected(listing, values, "gpt_neox.layers.0.attention.query_key_value.q", inputs[0])
    assert not np.allclose(q, outputs[0][0], atol=1e-2)


def _projected(listing: Listing, values: dict[str, Values], stem: str, given: Values) -> Values:
    """Return what a logical layer makes of an input, turned as its view says."""
    weight = values[f"{stem}.weight"]
    view = next(t.view for t in listing.tensors if t.name == f"{stem}.weight")
    assert view is not None
    turned: Values = weight.T if view.transposed else weight
    result: Values = turned @ given + values.get(f"{stem}.bias", np.float32(0))
    return result


def test_the_names_on_disk_are_covered(tmp_path: Path, ref_of: RefOf) -> None:
    """Nothing of a real checkpoint is lost, and what is not fused keeps its name."""
    model = build("GPTNeoX", **SMALL)
    listing, values = saved(model, tmp_path, ref_of)
    assert sum(t.size for t in listing.tensors) == sum(p.numel() for p in model.parameters())
    for name, parameter in model.named_parameters():
        if "query_key_value" not in name and name != "lm_head.weight":  # embed_out on disk
            assert np.array_equal(values[name], parameter.detach().numpy())


def test_conv1d_layers_are_turned_and_others_are_not(tmp_path: Path, ref_of: RefOf) -> None:
    """Exactly the modules that are Conv1D in the model have their outputs in columns."""
    from transformers.pytorch_utils import Conv1D

    model = build("GPT2", **GPT2_SIZES)
    listing, _ = saved(model, tmp_path, ref_of)
    real = {f"{n}.weight" for n, m in model.named_modules() if isinstance(m, Conv1D)}
    turned = {t.view.source for t in listing.tensors if t.view is not None and t.view.transposed}
    assert turned == real


def test_gate_and_up_are_what_the_model_multiplies(tmp_path: Path, ref_of: RefOf) -> None:
    """down(silu(gate x) * up x) with the logical parts is the MLP of Phi-3."""
    import torch

    model = build("Phi3", **SMALL)
    _, values = saved(model, tmp_path, ref_of)
    x = torch.randn(32)
    stem = "model.layers.1.mlp"
    gate, up = (
        torch.from_numpy(values[f"{stem}.gate_up_proj.{part}.weight"]) @ x
        for part in ("gate", "up")
    )
    mine = torch.from_numpy(values[f"{stem}.down_proj.weight"]) @ (
        torch.nn.functional.silu(gate) * up
    )
    with torch.no_grad():
        assert torch.allclose(mine, model.model.layers[1].mlp(x), atol=1e-4)


MOE = [
    pytest.param("Mixtral", {"num_local_experts": 3}, "layers.1.mlp.experts", id="mixtral"),
    pytest.param(
        "Qwen3Moe", {"num_experts": 3, "moe_intermediate_size": 20, "mlp_only_layers": []},
        "layers.1.mlp.experts", id="qwen3-moe",
    ),
    pytest.param(
        "GraniteMoe", {"num_local_experts": 3}, "layers.1.block_sparse_moe.experts", id="granite"
    ),
    pytest.param(
        "GptOss", {"num_local_experts": 3, "head_dim": 6}, "layers.1.mlp.experts", id="gpt-oss"
    ),
]  # fmt: skip


@pytest.mark.parametrize("original", [True, False], ids=["as-published", "as-in-memory"])
@pytest.mark.parametrize(("family", "more", "path"), MOE)
def test_each_expert_is_found_however_it_was_saved(
    tmp_path: Path, ref_of: RefOf, family: str, more: dict[str, Any], path: str, original: bool
) -> None:
    """Stacked or apart on disk: the same matrices, expert by expert, as the model computes with."""
    model = build(family, **{**SMALL, **more})
    listing, values = saved(model, tmp_path, ref_of, save_original_format=original)
    stack = model.get_submodule(f"model.{path}")
    seen = [v for n, v in values.items() if ".layers.1." in n and v.ndim == 2 and 20 in v.shape]
    assert len(seen) == 9
    for expert in range(3):
        for real in _real(stack, expert, family):
            assert any(np.array_equal(real, mine) for mine in seen)
    assert not any(".layers." in name for name, _ in listing.notes)


def _real(stack: Any, expert: int, family: str) -> list[Values]:
    """Return gate, up and down as the model's own forward cuts them."""
    fused = stack.gate_up_proj[expert].detach()
    down = stack.down_proj[expert].detach().numpy()
    if family == "GptOss":
        return [fused[..., ::2].numpy(), fused[..., 1::2].numpy(), down]
    gate, up = fused.chunk(2, dim=0)
    return [gate.numpy(), up.numpy(), down]


def test_experts_of_llama4_multiply_as_the_model_does(tmp_path: Path, ref_of: RefOf) -> None:
    """Its experts are [in, out] with gate and up in blocks of columns."""
    import torch

    sizes = {**SMALL, "num_local_experts": 3, "head_dim": 6, "intermediate_size_mlp": 20}
    model = build("Llama4", **sizes)
    _, values = saved(model, tmp_path, ref_of)
    stack = model.get_submodule("model.layers.1.feed_forward.experts")
    x = torch.randn(3, 32)
    with torch.no_grad():
        wanted = stack(x).numpy()
    stem = "model.layers.1.feed_forward.experts"
    for expert in range(3):
        gate, up = (
            x[expert] @ torch.from_numpy(values[f"{stem}.{expert}.gate_up_proj.{p}.weight"])
            for p in ("gate", "up")
        )
        down = torch.from_numpy(values[f"{stem}.{expert}.down_proj.weight"])
        mine = (up * torch.nn.functional.silu(gate)) @ down
        assert np.allclose(mine.numpy(), wanted[expert], atol=1e-4)


def test_mpt_and_multihead_attention_are_thirds(tmp_path: Path, ref_of: RefOf) -> None:
    """MPT keeps what it cached of k and v; torch's own module says how it cuts its weight."""
    import torch
    from safetensors.torch import save_file

    model = build("Mpt", vocab_size=40, d_model=24, n_heads=4, n_layers=2, max_seq_len=8)
    listing, values = saved(model, tmp_path / "mpt", ref_of)
    inputs: list[Values] = []
    for name, module in model.named_modules():
        if name.endswith("Wqkv"):
            module.register_forward_pre_hook(lambda _, x: inputs.append(x[0].numpy().ravel()))
    with torch.no_grad():
        cache = model(torch.tensor([[7]]), use_cache=True).past_key_values
    for layer, given in enumerate(inputs):
        stem = f"transformer.blocks.{layer}.attn.Wqkv"
        keys, kept = cache.layers[layer].keys, cache.layers[layer].values
        assert np.allclose(_projected(listing, values, f"{stem}.k", given), keys.ravel(), atol=1e-5)
        assert np.allclose(_projected(listing, values, f"{stem}.v", given), kept.ravel(), atol=1e-5)

    attention = torch.nn.MultiheadAttention(24, 4)
    path = tmp_path / "step_1.safetensors"
    save_file({f"a.{n}": p.detach() for n, p in attention.named_parameters()}, path)
    ref = ref_of(path)
    by_name = {tensor.name: tensor for tensor in logical_listing(ref).tensors}
    with OpenFiles(ref) as files:
        for part, real in zip("qkv", attention.in_proj_weight.detach().chunk(3), strict=True):
            assert np.array_equal(read(files, by_name[f"a.in_proj.{part}.weight"]), real.numpy())
