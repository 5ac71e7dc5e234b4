"""Text logs of many trainers: found where they lie, read as they grow, joined over resumes."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path

import pytest

from forkmon.formats import opening
from forkmon.runs import metrics, metrics_text
from forkmon.runs.metrics import Logs
from forkmon.runs.metrics_files import LogFile
from forkmon.runs.metrics_places import MOST_ENTRIES, places
from forkmon.runs.metrics_text import TextLog

Points = list[tuple[int, float]]


def write(path: Path, text: str, *, at: float | None = None) -> Path:
    """Write a file, with the directories it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    if at is not None:
        os.utime(path, (at, at))
    return path


def test_lightning_s_sparse_table_is_read(tmp_path: Path) -> None:
    """Validation and training have rows of their own; empty cells are no points."""
    table = (
        "epoch,lr-AdamW,step,train_loss,val_loss\n0,,9,2.5,\n0,0.001,9,,\n0,,9,,2.75\n1,,19,2.0,\n"
    )
    write(tmp_path / "lightning_logs" / "version_0" / "metrics.csv", table)
    assert Logs(tmp_path).curves(None) == {
        "train_loss": [(9, 2.5), (19, 2.0)],
        "lr-AdamW": [(9, 0.001)],
        "val_loss": [(9, 2.75)],
    }


def test_what_lightning_writes_is_read(tmp_path: Path) -> None:
    """A real Trainer with its CSVLogger, and checkpoints beside the log."""
    lightning = pytest.importorskip("lightning")
    import torch

    class Net(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch: list[torch.Tensor], _index: int) -> torch.Tensor:
            loss: torch.Tensor = self.layer(batch[0]).square().mean()
            seen.append(float(loss.detach()))
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    seen: list[float] = []
    torch.manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.randn(24, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            max_epochs=2, default_root_dir=tmp_path, accelerator="cpu", log_every_n_steps=1,
            logger=lightning.pytorch.loggers.CSVLogger(tmp_path),
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(Net(), torch.utils.data.DataLoader(data, batch_size=4))
    version = tmp_path / "lightning_logs" / "version_0"
    (checkpoint,) = (version / "checkpoints").iterdir()
    for root in (tmp_path, version, version / "checkpoints"):
        points = Logs(root).curves(checkpoint)["train_loss"]
        assert [step for step, _ in points] == list(range(12))
        assert [value for _, value in points] == pytest.approx(seen, rel=1e-5)


@pytest.mark.parametrize(
    ("name", "text", "curves"),
    [
        ("log.jsonl", '{"iter": 5, "loss": 1.5, "note": "x", "ok": true}\n{"iter": 7, "lr": 0.1}\n',
         {"loss": [(5, 1.5)], "lr": [(7, 0.1)]}),
        ("20260101_000000/vis_data/scalars.json",
         '{"lr": 0.1, "loss": 2.0, "epoch": 1, "iter": 10, "step": 10}\n',
         {"loss": [(10, 2.0)], "lr": [(10, 0.1)]}),
        ("results.csv", "   epoch,  train/box_loss,   lr/pg0\n   0,  1.25, 0.01\n  1, 1, 0.02\n",
         {"lr/pg0": [(0, 0.01), (1, 0.02)], "train/box_loss": [(0, 1.25), (1, 1.0)]}),
        ("metrics.json", '{"iteration": 19, "total_loss": 0.5, "train": {"grad_norm": 2}}\n',
         {"total_loss": [(19, 0.5)], "train/grad_norm": [(19, 2.0)]}),
        ("trainer_log.jsonl",
         '{"current_steps": 10, "total_steps": 20, "loss": 3.0, "lr": 1e-05}\n',
         {"loss": [(10, 3.0)], "lr": [(10, 1e-05)], "total_steps": [(10, 20.0)]}),
        ("summary.csv", "epoch,train_loss,eval_loss\n0,6.5,6.25\n",
         {"train_loss": [(0, 6.5)], "eval_loss": [(0, 6.25)]}),
        ("logs/csv/version_0/metrics.csv", "\ufeffstep;loss\r\n1;2\r\n",
         {"loss": [(1, 2.0)]}),
        ("metrics.csv", "name,loss\na,1\n", {}),
        ("metrics.csv",
         'step,"a ""b"", c"\n1,"3"\n-1,4\n1.5,5\nnan,6\n9999999999999999999,7\n',
         {'a "b", c': [(1, 3.0)]}),
        ("metrics.jsonl",
         '{"epoch": 0, "loss": 9}\n{"step": 3, "loss": 1}\n{"epoch": 1, "loss": 8}\n',
         {"loss": [(3, 1.0)]}),
        ("notes.csv", "step,loss\n1,2\n", {}),
    ],
)  # fmt: skip
def test_logs_of_many_trainers_are_read(
    tmp_path: Path, name: str, text: str, curves: dict[str, Points]
) -> None:
    """Columns of steps by their usual names, epochs where there are none, never both."""
    write(tmp_path / name, text)
    assert Logs(tmp_path).curves(None) == curves


def test_the_log_of_a_run_lies_beside_its_checkpoints(tmp_path: Path) -> None:
    """PATH may be the run, or the directory of its checkpoints; those are not searched."""
    write(tmp_path / "metrics.csv", "step,loss\n1,2\n")
    inside = tmp_path / "checkpoints" / "step_5"
    write(inside / "metrics.csv", "step,other\n1,2\n")
    for root, newest in ((tmp_path, None), (tmp_path / "checkpoints", None)):
        assert Logs(root).curves(newest) == {"loss": [(1, 2.0)]}


def test_only_what_is_new_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unchanged log is not opened; one that grew is read from where it ended."""
    path = write(tmp_path / "metrics.csv", "step,loss\n" + "1,2.5\n" * 10_000)
    logs = Logs(tmp_path)
    logs.curves(None)
    read: list[int] = []
    plain = opening.read_bytes

    def counted(fd: int, offset: int, length: int, path: Path) -> bytes:
        read.append(length)
        return plain(fd, offset, length, path)

    monkeypatch.setattr(metrics_text, "read_bytes", counted)
    logs.curves(None)
    assert read == []
    with path.open("a") as log:
        log.write("2,1.5\n3,1.")
    assert logs.curves(None)["loss"] == [(1, 2.5), (2, 1.5)]
    assert sum(read) < 100
    with path.open("a") as log:
        log.write("25\n")
    assert logs.curves(None)["loss"][-1] == (3, 1.25)


def test_a_log_written_anew_is_read_anew(tmp_path: Path) -> None:
    """Lightning rewrites its table when a column joins it; the old columns' numbers stay right."""
    path = write(tmp_path / "metrics.csv", "step,loss\n1,2.5\n2,2.25\n")
    logs = Logs(tmp_path)
    logs.curves(None)
    write(path, "acc,step,loss\n,1,2.5\n,2,2.25\n0.5,3,2.0\n")
    assert logs.curves(None) == {"loss": [(1, 2.5), (2, 2.25), (3, 2.0)], "acc": [(3, 0.5)]}
    write(path, "step,loss\n")
    assert logs.curves(None) == {}


def test_a_resumed_run_goes_on_in_its_next_version(tmp_path: Path) -> None:
    """version_1 replaces version_0 from its own first step on."""
    logs = tmp_path / "lightning_logs"
    write(logs / "version_0" / "metrics.csv", "step,loss\n1,5\n2,5\n3,5\n", at=1_000)
    write(logs / "version_1" / "metrics.csv", "step,loss\n3,4\n4,4\n", at=2_000)
    points = Logs(tmp_path).curves(None)["loss"]
    assert points == [(1, 5.0), (2, 5.0), (3, 4.0), (4, 4.0)]


def test_one_quantity_comes_from_one_log(tmp_path: Path) -> None:
    """The trainer's state and its TensorBoard files say the same twice; one curve is kept."""
    rows = [{"step": step, "loss": 1.0 / step, "epoch": 0.5} for step in range(1, 5)]
    write(tmp_path / "trainer_state.json", json.dumps({"log_history": rows}))
    write(tmp_path / "logs" / "metrics.csv", "step,train/loss,extra\n1,1,7\n")
    curves = Logs(tmp_path).curves(None)
    assert set(curves) == {"loss", "extra"}
    assert curves["loss"] == [(step, 1.0 / step) for step in range(1, 5)]


def test_a_long_log_is_read_in_pieces(tmp_path: Path) -> None:
    """A look ends when its time is over, and the next one goes on; nothing is lost or doubled."""
    text = "step,loss\n" + "".join(f"{step},{step % 7}\n" for step in range(400_000))
    write(tmp_path / "metrics.csv", text)
    ticks = iter(range(0, 10**6, 2))
    logs = Logs(tmp_path, clock=lambda: float(next(ticks)))
    looks, ends = 0, [-1]
    while not looks or logs.behind:
        ends.append(logs.curves(None)["loss"][-1][0])
        looks += 1
    assert looks > 1
    assert ends == sorted(set(ends))
    assert ends[-1] == 399_999
    assert len(text) > 2 * metrics._PIECE


def test_a_line_without_end_is_passed_over(tmp_path: Path) -> None:
    """Megabytes without a line break cost no memory, and the next line is read."""
    path = write(tmp_path / "metrics.csv", "step,loss\n1,2\n" + "9" * 3_000_000 + "\n4,5\n")
    log = LogFile(path, TextLog)
    while log.read(1_500_000):
        pass
    assert log.curves["loss"].points() == [(1, 2.0), (4, 5.0)]


def test_the_search_is_bounded(tmp_path: Path) -> None:
    """A directory of very many entries, or a deep one, ends the search early and quietly."""
    for i in range(MOST_ENTRIES + 10):
        (tmp_path / f"x{i}").touch()
    deep = tmp_path / "logs"
    for _ in range(40):
        deep /= "logs"
    write(deep / "metrics.csv", "step,loss\n1,2\n")
    assert places(tmp_path, None) == []
    assert Logs(tmp_path).curves(None) == {}


def test_logs_that_are_gone_keep_their_curves(tmp_path: Path) -> None:
    """While forkmon runs, what it has read stays."""
    path = write(tmp_path / "metrics.csv", "step,loss\n1,2\n")
    logs = Logs(tmp_path)
    before = logs.curves(None)
    path.unlink()
    assert logs.curves(None) == before
