"""`forkmon scan`: the contract that scripts depend on."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forkmon.store.place import state_directory, store_path
from forkmon.store.reader import Reader
from forkmon.store.writer import Writer

from .conftest import LONG_AGO, Call, Land, weights

NUMBER = (int, float)
MAYBE = (int, float, type(None))

TOP = {
    "schema": int, "run": str, "device": str, "checkpoints": list, "alerts": list,
    "ignored": list, "verdict": dict, "metrics": dict,
}  # fmt: skip
CHECKPOINT = {
    "segment": int, "step": int, "version": int, "path": str, "format": str, "status": str,
    "reason": (str, type(None)), "bytes": int, "seconds": NUMBER, "tensors": list,
}  # fmt: skip
TENSOR = {
    "name": str, "role": str, "dtype": str, "shape": list, "n": int, "mean": MAYBE, "std": MAYBE,
    "skew": MAYBE, "kurtosis": MAYBE, "min": MAYBE, "max": MAYBE, "l1": MAYBE, "l2": MAYBE,
    "zeros": int, "nan": int, "inf": int, "quantiles": dict, "modes": (int, type(None)),
    "preview": bool,
}  # fmt: skip
ALERT = {
    "kind": str, "severity": str, "tensor": (str, type(None)), "onset": int, "step": int,
    "message": str, "evidence": dict,
}  # fmt: skip
STATES = {"healthy", "converged", "frozen", "diverging", "corrupted", "unknown"}
QUANTILES = ["0.001", "0.01", "0.05", "0.25", "0.5", "0.75", "0.95", "0.99", "0.999"]


def assert_fits(body: dict[str, Any], contract: dict[str, Any]) -> None:
    """Check that the keys are those of the contract, and each value's type."""
    assert set(body) == set(contract)
    for key, kind in contract.items():
        assert isinstance(body[key], kind), f"{key} is {body[key]!r}"
        if kind is not bool:
            assert not isinstance(body[key], bool), key


def test_the_json_has_the_keys_of_the_contract(forkmon: Call, run: Path, land: Land) -> None:
    """Every object at every level has exactly the promised keys and types."""
    land(run, 1)
    land(run, 2, {**weights(2), "bad": np.array([np.nan, 1, np.inf], np.float32)})
    (run / "optimizer.pt").write_bytes(b"PK\3\4" + bytes(100))
    (run / "log.jsonl").write_text('{"step": 1, "train/loss": 2}\n{"step": 2, "train/loss": 1.5}\n')
    answer = forkmon("scan", run, "--json")
    assert answer.code == 0
    assert answer.err == ""
    report = answer.json
    assert_fits(report, TOP)
    assert report["schema"] == 1
    assert report["run"] == str(run)
    assert report["device"] == "cpu"
    assert [c["step"] for c in report["checkpoints"]] == [1, 2]
    for checkpoint in report["checkpoints"]:
        assert_fits(checkpoint, CHECKPOINT)
        assert (checkpoint["segment"], checkpoint["version"]) == (0, 0)
        assert checkpoint["status"] == "complete"
        assert checkpoint["reason"] is None
        for tensor in checkpoint["tensors"]:
            assert_fits(tensor, TENSOR)
            assert list(tensor["quantiles"]) == QUANTILES
    assert report["alerts"]
    for alert in report["alerts"]:
        assert_fits(alert, ALERT)
        assert alert["severity"] in {"info", "warn", "error"}
    assert set(report["verdict"]) == {"state", "reasons"}
    assert report["metrics"] == {"loss": {"name": "train/loss", "step": 2, "value": 1.5}}
    assert report["verdict"]["state"] in STATES
    assert all(isinstance(reason, str) for reason in report["verdict"]["reasons"])
    assert all(set(ignored) == {"path", "reason"} for ignored in report["ignored"])


def test_the_numbers_are_population_moments_of_the_finite_values(
    forkmon: Call, run: Path, land: Land
) -> None:
    """They agree with numpy; `n` counts every element, undefined is null."""
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    content = {
        "mixed": np.concatenate([values, np.array([np.nan, np.inf, -np.inf], np.float32)]),
        "constant": np.full(7, 3.0, np.float32),
        "nothing": np.full(5, np.nan, np.float32),
        "empty": np.zeros((0, 4), np.float32),
    }
    land(run, 1, content)
    found = {t["name"]: t for t in forkmon("scan", run, "--json").json["checkpoints"][0]["tensors"]}
    mixed, exact = found["mixed"], values.astype(np.float64)
    assert (mixed["n"], mixed["nan"], mixed["inf"], mixed["zeros"]) == (1003, 1, 2, 0)
    assert mixed["shape"] == [1003]
    assert mixed["mean"] == pytest.approx(exact.mean(), rel=1e-12)
    assert mixed["std"] == pytest.approx(exact.std(), rel=1e-12)
    assert mixed["skew"] == pytest.approx(((exact - exact.mean()) ** 3).mean() / exact.std() ** 3)
    fourth = ((exact - exact.mean()) ** 4).mean() / exact.var() ** 2 - 3
    assert mixed["kurtosis"] == pytest.approx(fourth)
    assert (mixed["min"], mixed["max"]) == (exact.min(), exact.max())
    assert mixed["l1"] == pytest.approx(np.abs(exact).sum(), rel=1e-12)
    assert mixed["l2"] == pytest.approx(np.sqrt((exact**2).sum()), rel=1e-12)
    assert mixed["quantiles"]["0.5"] == pytest.approx(np.median(exact), abs=0.02)
    assert (found["constant"]["std"], found["constant"]["skew"]) == (0, None)
    assert found["constant"]["kurtosis"] is None
    for name, size in (("nothing", 5), ("empty", 0)):
        assert found[name]["n"] == size
        for key in ("mean", "std", "skew", "kurtosis", "min", "max"):
            assert found[name][key] is None
        assert set(found[name]["quantiles"].values()) == {None}


def test_jsonl_is_one_object_a_line(forkmon: Call, run: Path, land: Land) -> None:
    """Checkpoints, alerts and the verdict, each known by its type, the verdict last."""
    land(run, 1)
    land(run, 2, {"w": np.array([np.nan, 1], np.float32)})
    (run / "step_3.safetensors").write_bytes(b"\xff" * 64)
    os.utime(run / "step_3.safetensors", (LONG_AGO, LONG_AGO))
    answer = forkmon("scan", run, "--jsonl")
    assert answer.code == 0
    lines = answer.lines
    checkpoints = [line for line in lines if line["type"] == "checkpoint"]
    assert {line["step"]: line["status"] for line in checkpoints} == {
        1: "complete", 2: "complete", 3: "failed",
    }  # fmt: skip
    for line in checkpoints:
        assert_fits(line, {**CHECKPOINT, "type": str, "schema": int})
    kinds = {line["kind"] for line in lines if line["type"] == "alert"}
    assert kinds == {"NONFINITE", "UNREADABLE"}
    assert [line["type"] for line in lines][-1] == "verdict"
    assert sum(line["type"] == "verdict" for line in lines) == 1


def test_a_second_scan_says_the_same(forkmon: Call, run: Path, land: Land) -> None:
    """What is stored is answered from the store, bit for bit."""
    for step in (1, 2):
        land(run, step)
    first = forkmon("scan", run, "--json")
    assert forkmon("scan", run, "--json") == first
    assert store_path(run).is_file()
    assert sorted(p.name for p in run.iterdir()) == ["step_1.safetensors", "step_2.safetensors"]


@pytest.mark.parametrize(
    ("limit", "what", "code"),
    [
        ("warn", "healthy", 0), ("error", "healthy", 0),
        ("warn", "unreadable", 3), ("error", "unreadable", 0),
        ("warn", "nan", 3), ("error", "nan", 3),
    ],
)  # fmt: skip
def test_fail_on_decides_the_exit_code(
    forkmon: Call, run: Path, land: Land, limit: str, what: str, code: int
) -> None:
    """3 when there is an alert at least so severe; the report is printed all the same."""
    land(run, 1)
    if what == "nan":
        land(run, 2, {"w": np.array([np.nan, 1], np.float32)})
    if what == "unreadable":
        (run / "step_2.safetensors").write_bytes(b"\xff" * 64)
        os.utime(run / "step_2.safetensors", (LONG_AGO, LONG_AGO))
    answer = forkmon("scan", run, "--json", "--fail-on", limit)
    assert answer.code == code
    assert answer.json["checkpoints"]
    assert forkmon("scan", run, "--json").code == 0


def test_filter_and_last_choose(forkmon: Call, run: Path, land: Land) -> None:
    """`--filter` takes tensors by a regular expression, `--last` the newest checkpoints."""
    for step in (1, 2, 10):
        land(run, step)
    report = forkmon("scan", run, "--json", "--filter", r"h\.1", "--last", 2).json
    assert [c["step"] for c in report["checkpoints"]] == [2, 10]
    for checkpoint in report["checkpoints"]:
        assert {t["name"] for t in checkpoint["tensors"]} == {"h.1.mlp.weight", "h.1.scale"}
    text = forkmon("scan", run, "--filter", "mlp").out
    assert "h.1.mlp.weight" in text
    assert "attn" not in text


@pytest.mark.parametrize(
    "wrong", [["--filter", "("], ["--last", "0"], ["--last", "x"], ["--fail-on", "info"],
              ["--json", "--jsonl"], ["--settle", "-1"], ["--device", "abacus"]],
)  # fmt: skip
def test_a_wrong_option_is_a_usage_error(
    forkmon: Call, run: Path, land: Land, wrong: list[str]
) -> None:
    """Exit code 2, one line on stderr, nothing on stdout."""
    land(run, 1)
    answer = forkmon("scan", run, *wrong)
    assert answer.code == 2
    assert answer.out == ""
    assert re.fullmatch(r"forkmon: error: .+\n", answer.err)


def test_no_store_leaves_nothing_behind(forkmon: Call, run: Path, land: Land) -> None:
    """`--no-store` keeps no history; `--store` keeps it where it is told to."""
    land(run, 1)
    assert forkmon("scan", run, "--json", "--no-store").json["checkpoints"]
    assert not state_directory().exists()
    named = run.parent / "elsewhere" / "history.db"
    assert forkmon("scan", run, "--store", named).code == 0
    assert not state_directory().exists()
    with Reader.open(named) as reader:
        assert [row.step for row in reader.timeline()] == [1]


def test_beside_a_live_writer_it_reads_and_computes_the_rest(
    forkmon: Call, run: Path, land: Land
) -> None:
    """Everything is in the answer, and the store stays its writer's alone."""
    land(run, 1)
    forkmon("scan", run)
    store = store_path(run)
    with Writer.open(store, run=run, name="run", kernel="1") as writer:
        land(run, 2)
        answer = forkmon("scan", run, "--json")
        assert answer.code == 0
        assert [c["step"] for c in answer.json["checkpoints"]] == [1, 2]
        assert [row.step for row in writer.reader().timeline()] == [1]
    assert [c["step"] for c in forkmon("scan", run, "--json").json["checkpoints"]] == [1, 2]


def test_what_cannot_be_read_gets_one_line_and_exit_code_1(forkmon: Call, tmp_path: Path) -> None:
    """A missing path, an empty directory and a file that is no checkpoint."""
    empty = tmp_path / "empty"
    empty.mkdir()
    note = tmp_path / "notes.txt"
    note.write_text("to do", "utf-8")
    page = tmp_path / "model.safetensors"
    page.write_text("<!DOCTYPE html><html></html>", "utf-8")
    os.utime(page, (LONG_AGO, LONG_AGO))
    for path, reason in (
        (tmp_path / "none", "no such file or directory"), (empty, ""), (note, ""), (page, "HTML"),
    ):  # fmt: skip
        answer = forkmon("scan", path)
        assert answer.code == 1, path
        errors = [line for line in answer.err.splitlines() if line.startswith("forkmon: error: ")]
        assert len(errors) == 1
        assert reason in errors[0]
    assert "nothing readable" in answer.err


def test_an_empty_directory_is_told_what_is_looked_for(forkmon: Call, run: Path) -> None:
    """The next action stands in the message."""
    assert "checkpoint-N/" in forkmon("scan", run).err


def test_a_bad_checkpoint_never_hides_the_good_ones(
    forkmon: Call, run: Path, land: Land, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Truncated, forbidden or no checkpoint at all: exit 0, its reason in the output."""
    for step in (1, 2, 3):
        path = land(run, step)
    whole = path.read_bytes()
    (run / "step_4.safetensors").write_bytes(whole[: len(whole) // 2])
    (run / "step_5.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    closed = run / "step_2.safetensors"
    for step in (4, 5):
        os.utime(run / f"step_{step}.safetensors", (LONG_AGO + step, LONG_AGO + step))
    opened = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if str(path).endswith(closed.name):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    answer = forkmon("scan", run, "--json")
    assert answer.code == 0
    told = {c["step"]: (c["status"], c["reason"]) for c in answer.json["checkpoints"]}
    assert {step for step, (status, _) in told.items() if status == "complete"} == {1, 3}
    reasons = {Path(c["path"]).name: c["reason"] for c in answer.json["checkpoints"] if c["reason"]}
    reasons |= {Path(i["path"]).name: i["reason"] for i in answer.json["ignored"]}
    assert "ermission" in reasons["step_2.safetensors"]
    assert reasons["step_4.safetensors"]
    assert "git-lfs" in reasons["step_5.safetensors"].lower()
    text = forkmon("scan", run).out
    for name in ("step_2", "step_4", "step_5"):
        assert name in text


def test_what_is_still_being_written_is_named(forkmon: Call, run: Path, land: Land) -> None:
    """A young half of a file is waited for one settle window, then named on stderr."""
    path = land(run, 1)
    (run / "step_2.safetensors").write_bytes(path.read_bytes()[:-100])
    answer = forkmon("scan", run, "--json")
    assert answer.code == 0
    assert [c["step"] for c in answer.json["checkpoints"]] == [1]
    assert "step_2.safetensors" in answer.err


def test_one_checkpoint_is_scanned_as_such(forkmon: Call, run: Path, land: Land) -> None:
    """A path may be one file, or one checkpoint's directory, of a run with many."""
    path = land(run, 7)
    land(run, 8)
    report = forkmon("scan", path, "--json").json
    assert [c["step"] for c in report["checkpoints"]] == [7]
    directory = run / "checkpoint-30"
    directory.mkdir()
    path.rename(directory / "model.safetensors")
    (directory / "trainer_state.json").write_text(json.dumps({"global_step": 30}), "utf-8")
    for file in directory.iterdir():
        os.utime(file, (LONG_AGO, LONG_AGO))
    report = forkmon("scan", directory, "--json").json
    assert [c["step"] for c in report["checkpoints"]] == [30]


def test_the_triage_is_plain_text(forkmon: Call, run: Path, land: Land) -> None:
    """State first, then what was read, then what changed; no escape sequence in a pipe."""
    for step in (1, 2):
        land(run, step)
    answer = forkmon("scan", run)
    assert answer.code == 0
    assert answer.err == ""
    assert answer.out.startswith("run: healthy")
    for words in ("2 checkpoints, steps 1 to 2", "most changed", "(whole model)", "alerts 0"):
        assert words in answer.out
    assert "\x1b" not in answer.out


def test_hostile_names_are_shown_not_obeyed(forkmon: Call, run: Path, land: Land) -> None:
    """In text they are escaped; in JSON they are the data they are."""
    name = "evil\x1b]0;pwned\x07\u202e.weight"
    land(run, 1, {name: np.array([np.nan, 1.0], np.float32)})
    text = forkmon("scan", run).out
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "pwned" in text
    report = forkmon("scan", run, "--json")
    assert report.json["checkpoints"][0]["tensors"][0]["name"] == name
    assert "\x1b" not in report.out
