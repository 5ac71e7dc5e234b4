"""Train the sample runs that ship with forkmon: seeded, on one core, without a network."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MATRICES, VECTORS = torch.bfloat16, torch.float32
"""How checkpoints are stored; training is float32 throughout."""

EARLY = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Steps that every long run saves before the geometric part."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a decoder-only transformer."""

    vocab: int
    outputs: int
    context: int
    layers: int
    heads: int
    norm: bool
    """Pre-LN with biases in the attention; False leaves both out."""
    last_only: bool
    """Only the last position is read (and so only its logits are computed)."""
    width: int = 128
    inner: int = 64
    """Width of all attention heads together."""
    hidden: int = 128


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a run is trained and what is kept of it."""

    seed: int
    lr: float
    weight_decay: float
    betas: tuple[float, float]
    warmup: int
    clip: float | None
    keep: tuple[int, ...]
    """Steps whose weights are saved; the last one ends the run."""
    log: tuple[int, ...]
    """Steps written to the log, on top of those kept."""


class Attention(nn.Module):
    """Causal self-attention with separate q, k and v."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads, self.last_only = shape.heads, shape.last_only
        self.q = nn.Linear(shape.width, shape.inner, bias=shape.norm)
        self.k = nn.Linear(shape.width, shape.inner, bias=shape.norm)
        self.v = nn.Linear(shape.width, shape.inner, bias=shape.norm)
        self.out = nn.Linear(shape.inner, shape.width, bias=shape.norm)

    def forward(self, x: Tensor) -> Tensor:
        asking = x[:, -1:] if self.last_only else x
        q, k, v = (
            projected.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for projected in (self.q(asking), self.k(x), self.v(x))
        )
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=not self.last_only)
        return self.out(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]  # Module


class Block(nn.Module):
    """Attention and a two-matrix MLP around one residual stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.last_only = shape.last_only
        self.ln_1 = nn.LayerNorm(shape.width) if shape.norm else nn.Identity()
        self.attn = Attention(shape)
        self.ln_2 = nn.LayerNorm(shape.width) if shape.norm else nn.Identity()
        self.mlp = nn.ModuleDict(
            {
                "up": nn.Linear(shape.width, shape.hidden),
                "down": nn.Linear(shape.hidden, shape.width),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        stream: Tensor = x[:, -1:] if self.last_only else x
        stream = stream + self.attn(self.ln_1(x))
        written: Tensor = self.mlp["down"](functional.gelu(self.mlp["up"](self.ln_2(stream))))
        return stream + written


class Transformer(nn.Module):
    """A small decoder with learned positions and an untied head."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embed = nn.Embedding(shape.vocab, shape.width)
        self.pos = nn.Embedding(shape.context, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.ln_f = nn.LayerNorm(shape.width) if shape.norm else nn.Identity()
        self.head = nn.Linear(shape.width, shape.outputs, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x: Tensor = self.embed(tokens) + self.pos.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln_f(x))  # type: ignore[no-any-return]  # Module


def initialised(shape: Shape, seed: int) -> Transformer:
    """Return a model with normal matrices, zero biases and unit gains.

    With LayerNorm the matrices start at GPT-NeoX's "small init", those that write to the residual
    stream smaller by the number of writers.
    """
    model = Transformer(shape)
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            nn.init.constant_(parameter, float("ln_" in name and name.endswith("weight")))
            continue
        std = math.sqrt((0.4 if shape.norm else 1.0) / shape.width)
        if shape.norm and name.endswith(("out.weight", "down.weight")):
            std /= math.sqrt(2 * shape.layers)
        nn.init.normal_(parameter, std=std, generator=generator)
    return model


def optimiser(model: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW that decays matrices and leaves vectors alone."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    vectors = [p for p in model.parameters() if p.ndim == 1]
    groups = [
        {"params": matrices, "weight_decay": recipe.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas)


def geometric(first: int, last: int, count: int) -> tuple[int, ...]:
    """Return about `count` steps from `first` to `last`, evenly spaced in their logarithm."""
    ratio = (last / first) ** (1 / count)
    return tuple(sorted({round(first * ratio**i) for i in range(1, count + 1)}))


@dataclass(frozen=True, slots=True)
class Sample:
    """One step that is logged, kept or both."""

    step: int
    kept: bool
    logs: tuple[dict[str, float], ...]


def train(
    model: nn.Module,
    recipe: Recipe,
    batch_loss: Callable[[], Tensor],
    measure: Callable[[], dict[str, float]],
) -> Iterator[Sample]:
    """Yield a sample at every step that the recipe names, the model being at that step then."""
    adam = optimiser(model, recipe)
    losses: list[float] = []
    yield Sample(0, kept=0 in recipe.keep, logs=({"step": 0, **measure()},))

    for step in range(1, recipe.keep[-1] + 1):
        rate = recipe.lr * min(1.0, step / recipe.warmup)
        for group in adam.param_groups:
            group["lr"] = rate
        adam.zero_grad()
        loss = batch_loss()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = clipped(model, recipe.clip)
        adam.step()
        losses.append(loss.item())
        if step not in recipe.keep and step not in recipe.log:
            continue
        mean = math.fsum(losses) / len(losses) if all(map(math.isfinite, losses)) else losses[-1]
        losses.clear()
        seen = {"step": step, "loss": mean, "grad_norm": norm.item(), "learning_rate": rate}
        yield Sample(step, step in recipe.keep, (seen, {"step": step, **measure()}))


def clipped(model: nn.Module, limit: float | None) -> Tensor:
    """Return the gradient's norm; scale the gradient down to `limit` where there is one."""
    if limit is not None:
        return nn.utils.clip_grad_norm_(model.parameters(), limit)

    # clip_grad_norm_ would turn every gradient into NaN as soon as one of them is infinite
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    norm: Tensor = torch.linalg.vector_norm(torch.cat(gradients))
    return norm


def write_weights(model: nn.Module, path: Path) -> None:
    """Save matrices as bf16 and vectors as f32."""
    stored = {
        name: p.detach().to(MATRICES if p.ndim > 1 else VECTORS).contiguous()
        for name, p in model.named_parameters()
    }
    save_file(stored, path, metadata={"format": "pt"})
    path.chmod(0o644)


def write_state(path: Path, recipe: Recipe, step: int, history: list[dict[str, float]]) -> None:
    """Write the log the way a Hugging Face Trainer does, NaN included."""
    rows = ",\n  ".join(json.dumps({k: short(v) for k, v in row.items()}) for row in history)
    path.write_text(
        f'{{\n "global_step": {step},\n "max_steps": {recipe.keep[-1]},\n'
        f' "log_history": [\n  {rows}\n ]\n}}\n'
    )


def short(value: float) -> float:
    """Return `value` at six digits, as an integer where it is one."""
    return value if isinstance(value, int) else float(f"{value:.6g}")


def write_config(path: Path, shape: Shape, recipe: Recipe, notes: dict[str, str | float]) -> None:
    """Write what is needed to load the weights or to train them again."""
    told = {"model_type": "forkmon-sample", **asdict(shape), **asdict(recipe), **notes}
    del told["keep"], told["log"]
    path.write_text(json.dumps(told, indent=1) + "\n")


def sums(p: int, share: float, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return train and test inputs and answers of `a + b = ? (mod p)`, split at random."""
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    tokens = torch.cat([pairs, torch.full((p * p, 1), p)], dim=1)
    order = torch.randperm(p * p, generator=torch.Generator().manual_seed(seed))
    train_rows, test_rows = order[: round(share * p * p)], order[round(share * p * p) :]
    answers = pairs.sum(1) % p
    return tokens[train_rows], answers[train_rows], tokens[test_rows], answers[test_rows]


def grokking(out: Path, steps: int) -> None:
    """Train modular addition, full batch, past the step at which it generalises."""
    p, share = 97, 0.4
    shape = Shape(p + 1, p, 3, layers=1, heads=4, norm=False, last_only=True)
    keep = EARLY + geometric(64, steps, 43)
    recipe = Recipe(0, 3e-3, 1.0, (0.9, 0.98), 10, None, keep, geometric(1, steps, 200))
    model = initialised(shape, recipe.seed)
    x, y, test_x, test_y = sums(p, share, recipe.seed)

    def measure() -> dict[str, float]:
        return {**judged("train", model, x, y), **judged("test", model, test_x, test_y)}

    root, history = out / "grokking", list[dict[str, float]]()
    root.mkdir(parents=True)
    write_config(root / "config.json", shape, recipe, {"p": p, "train_share": share})
    for sample in train(
        model, recipe, lambda: functional.cross_entropy(model(x)[:, -1], y), measure
    ):
        history.extend(sample.logs)
        if sample.kept:
            write_weights(model, root / f"step{sample.step}.safetensors")
        write_state(root / "trainer_state.json", recipe, sample.step, history)
        print("grokking", sample.logs[-1], flush=True)


@torch.no_grad()
def judged(name: str, model: nn.Module, x: Tensor, y: Tensor) -> dict[str, float]:
    """Return loss and accuracy on one split."""
    logits = model(x)[:, -1]
    right = (logits.argmax(1) == y).double().mean().item()
    return {f"{name}_loss": functional.cross_entropy(logits, y).item(), f"{name}_accuracy": right}


def corpus() -> bytes:
    """Return Python's language help (the topics of `pydoc`, sorted) in 96 characters."""
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))
    return "".join(c if c == "\n" or " " <= c <= "~" else "?" for c in text).encode("ascii")


def tokens_of(text: bytes) -> Tensor:
    """Return newline as 0 and the printable characters as 1 to 95."""
    codes = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    return (codes - 31).clamp(min=0)


def language(out: Path, name: str, recipe: Recipe) -> None:
    """Train a two-layer pre-LN GPT on characters and keep Trainer-like directories."""
    shape = Shape(96, 96, 64, layers=2, heads=4, norm=True, last_only=False)
    text = corpus()
    tokens = tokens_of(text)
    training, held_out = tokens[: -len(tokens) // 20], tokens[-len(tokens) // 20 :]
    model = initialised(shape, recipe.seed)
    draw = torch.Generator().manual_seed(recipe.seed)
    fixed = windows(held_out, shape.context, 128, torch.Generator().manual_seed(recipe.seed))

    def measure() -> dict[str, float]:
        with torch.no_grad():
            return {"eval_loss": next_token_loss(model, fixed).item()}

    notes: dict[str, str | float] = {"corpus_sha256": hashlib.sha256(text).hexdigest()}
    root, history = out / name, list[dict[str, float]]()
    root.mkdir(parents=True)
    for sample in train(
        model,
        recipe,
        lambda: next_token_loss(model, windows(training, shape.context, 32, draw)),
        measure,
    ):
        history.extend(sample.logs)
        print(name, *sample.logs, flush=True)
        if sample.kept:
            at = root / f"checkpoint-{sample.step}"
            at.mkdir()
            write_config(at / "config.json", shape, recipe, notes)
            write_weights(model, at / "model.safetensors")
            write_state(at / "trainer_state.json", recipe, sample.step, history)


def windows(tokens: Tensor, length: int, count: int, draw: torch.Generator) -> Tensor:
    """Return `count` random stretches of `length` tokens and the one that follows."""
    starts = torch.randint(len(tokens) - length, (count, 1), generator=draw)
    return tokens[starts + torch.arange(length + 1)]


def next_token_loss(model: nn.Module, batch: Tensor) -> Tensor:
    """Return the mean cross-entropy in nats."""
    return functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())


def tiny_lm(out: Path, steps: int) -> None:
    """Train the language model as one should."""
    keep = EARLY + geometric(64, steps, 12)
    recipe = Recipe(0, 2e-3, 0.1, (0.9, 0.95), 4, 1.0, keep, tuple(range(0, steps, 32)))
    language(out, "tiny-lm", recipe)


def diverged(out: Path) -> None:
    """Train the same model without clipping at a rate that no model survives."""
    keep = (0, 1, 2, 4, 8, 12, 15, 16, 17, 32, 64, 128)
    recipe = Recipe(0, 36.0, 0.1, (0.9, 0.95), 4, None, keep, tuple(range(1, 18)))
    language(out, "diverged", recipe)


def main() -> None:
    """Train the runs named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", choices=["grokking", "tiny-lm", "diverged", "all"])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where runs go")
    parser.add_argument("--steps", type=int, help="train longer or shorter (not for diverged)")
    asked = parser.parse_args()
    names = ["tiny-lm", "diverged", "grokking"] if asked.run == "all" else [asked.run]
    for name in names:
        if (asked.out / name).exists():
            parser.error(f"{asked.out / name} exists; choose another --out or move it away")

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(mode=True)
    if "tiny-lm" in names:
        tiny_lm(asked.out, asked.steps or 2048)
    if "diverged" in names:
        diverged(asked.out)
    if "grokking" in names:
        grokking(asked.out, asked.steps or 3000)


if __name__ == "__main__":
    main()
