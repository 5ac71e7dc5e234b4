"""Real training processes write checkpoints while forkmon runs: every new step is on the screen."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Start, Train

TORCH_LOOP = '''
"""A small network learns a sine; a plain loop that saves as plain loops do."""
import sys
import re
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors.torch import save_file

run = Path(sys.argv[1])
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(1, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
step = 0
for _ in sys.stdin:
    for _ in range(5):
        x = torch.rand(128, 1) * 6 - 3
        loss = (model(x) - x.sin()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
    save_file(model.state_dict(), run / f"step_{step}.safetensors")
    print("saved", step, flush=True)
'''

ONE_FILE = '''
"""A loop that overwrites one torch file in place, as nanoGPT does."""
import sys
from pathlib import Path

import torch

out = Path(sys.argv[1])
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.Tanh(), torch.nn.Linear(64, 1))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
step = 0
for _ in sys.stdin:
    for _ in range(250):
        x = torch.rand(32, 8)
        loss = (model(x) - x.sum(1, keepdim=True)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        step += 1
    state = {f"_orig_mod.{name}": weight for name, weight in model.state_dict().items()}
    content = {"model": state, "optimizer": optimizer.state_dict(), "iter_num": step}
    torch.save(content, out / "ckpt.pt")
    print("saved", step, flush=True)
'''

HF_TRAINER = '''
"""A tiny GPT-2 on random tokens, saved and rotated by transformers' Trainer."""
import sys

import torch
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainerCallback, TrainingArguments


class Tokens(torch.utils.data.Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        ids = torch.randint(0, 64, (16,), generator=torch.Generator().manual_seed(index))
        return {"input_ids": ids, "labels": ids}


class Obey(TrainerCallback):
    """Say that a checkpoint is there, and go on only when told to."""

    def on_save(self, args, state, control, **_):
        print("saved", state.global_step, flush=True)
        sys.stdin.readline()


config = GPT2Config(n_layer=2, n_embd=32, n_head=2, n_positions=16, vocab_size=64)
arguments = TrainingArguments(
    output_dir=sys.argv[1], max_steps=8, save_steps=2, save_total_limit=2, logging_steps=2,
    per_device_train_batch_size=4, use_cpu=True, report_to="none", disable_tqdm=True, seed=0,
)
sys.stdin.readline()
Trainer(GPT2LMHeadModel(config), arguments, train_dataset=Tokens(), callbacks=[Obey()]).train()
'''


def drawn(step: int) -> Callable[[str], bool]:
    """Return whether the panel's title names a step."""
    return lambda text: re.search(rf"step {step}\b", text.splitlines()[2]) is not None


def test_every_step_of_a_torch_loop_comes_to_the_screen(
    start: Start, train: Train, run: Path
) -> None:
    """No key is pressed while the loop saves; then one scrubs back, and one leaves."""
    trainer = train(TORCH_LOOP, run)
    forkmon = start(run)
    forkmon.until_says("waiting for the first checkpoint", "checkpoint-N/")
    for count in range(1, 6):
        step = trainer.saves()
        assert step == 5 * count
        plural = "s" if count > 1 else ""
        forkmon.until_says(f"step {step} · {count} checkpoint{plural} ·", "● live")
        forkmon.until(drawn(step), "its drawing")
    forkmon.until_says("healthy", "1 histogram", "std")
    forkmon.press(",")
    forkmon.until(drawn(20), "the step before the newest")
    assert "step 25 · 5 checkpoints" in forkmon.row(0)
    assert trainer.saves() == 30
    forkmon.until_says("step 30 · 6 checkpoints")
    assert "step 20" in forkmon.row(2), "who looks at an old step is not dragged along"
    forkmon.press("q")
    assert forkmon.wait() == 0
    forkmon.assert_restored()
    assert trainer.close() == 0


def test_each_version_of_one_overwritten_file_is_a_step_of_its_own(
    start: Start, train: Train, run: Path
) -> None:
    """The file says which step it is; what it held before stays in the history."""
    trainer = train(ONE_FILE, run)
    forkmon = start(run)
    for count in range(1, 4):
        step = trainer.saves()
        plural = "s" if count > 1 else ""
        forkmon.until_says(f"step {step} · {count} checkpoint{plural} ·", "● live")
    forkmon.press("<")
    forkmon.until(drawn(250), "the first version, overwritten since")
    assert [path.name for path in run.iterdir()] == ["ckpt.pt"]
    forkmon.press("q")
    assert forkmon.wait() == 0
    forkmon.assert_restored()
    assert trainer.close() == 0


@pytest.mark.slow
def test_a_rotating_trainer_keeps_its_history_on_the_screen(
    start: Start, train: Train, run: Path
) -> None:
    """transformers' Trainer deletes all but two checkpoints; forkmon remembers every one."""
    trainer = train(HF_TRAINER, run)
    forkmon = start(run)
    for count, step in enumerate((2, 4, 6, 8), start=1):
        assert trainer.saves() == step
        forkmon.until_says(f"step {step} · {count} checkpoint", "● live")
    assert {path.name for path in run.iterdir()} == {"checkpoint-6", "checkpoint-8"}
    forkmon.until_says("step 8 · 4 checkpoints", "transformer", "loss")
    forkmon.press("<")
    forkmon.until(drawn(2), "the first, deleted checkpoint")
    forkmon.press("q")
    assert forkmon.wait() == 0
    forkmon.assert_restored()
    assert trainer.close() == 0
