"""`forkmon report` and `forkmon doctor`: files that stand alone, facts that are true."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from safetensors.numpy import save_file

from forkmon.cli import main
from forkmon.commands.report import guarded

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run of three checkpoints, one tensor of a hostile name, one with NaN at last."""
    root = tmp_path / "run"
    root.mkdir()
    rng = np.random.default_rng(0)
    for step in (0, 10, 20):
        weights = rng.standard_normal((32, 16)).astype(np.float32) * (1 + step)
        bad = np.full(4, np.nan if step == 20 else 1.0, np.float32)
        tensors = {"blocks.0.w": weights, HOSTILE: weights[0], "=1+1": bad}
        save_file(tensors, root / f"step_{step}.safetensors")
    return root


@pytest.fixture
def history(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Return a store of the run."""
    store = tmp_path / "history.db"
    assert main(["scan", str(run), "--store", str(store), "--settle", "0.1"]) == 0
    capsys.readouterr()
    return store


class Tags(HTMLParser):
    """Gathers what a browser would see of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and whatever it would fetch."""
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text.append(data)


def test_the_page_stands_alone(history: Path, tmp_path: Path) -> None:
    """The page holds pictures and numbers, fetches nothing, and shows hostile names as text."""
    page = tmp_path / "report.html"
    assert main(["report", str(history), "-o", str(page)]) == 0
    seen = Tags()
    seen.feed(page.read_text("utf-8"))
    assert "script" not in seen.tags
    assert seen.links == []
    assert seen.tags.count("svg") >= 3
    assert any(HOSTILE in text for text in seen.text)
    assert any("NONFINITE" in text for text in seen.text)
    assert "diverging" in "".join(seen.text)
    assert "default-src 'none'" in page.read_text("utf-8")


def test_every_number_is_in_the_table(history: Path, tmp_path: Path) -> None:
    """The CSV has a row for each tensor and step, and no cell that a spreadsheet would run."""
    table = tmp_path / "report.csv"
    assert main(["report", str(history), "-o", str(table)]) == 0
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9
    assert {row["step"] for row in rows} == {"0", "10", "20"}
    assert not any(row["tensor"].startswith("=") for row in rows)
    last = next(r for r in rows if r["step"] == "20" and r["tensor"] == "'=1+1")
    assert (last["nan"], last["n"], last["mean"]) == ("4", "4", "")


def test_json_is_that_of_scan(
    run: Path, history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report's JSON is the object that scan prints for the same history."""
    out = tmp_path / "report.json"
    assert main(["report", str(history), "-o", str(out)]) == 0
    assert main(["scan", str(run), "--store", str(history), "--json"]) == 0
    scanned = json.loads(capsys.readouterr().out)
    told = json.loads(out.read_text())
    assert told["checkpoints"] == scanned["checkpoints"]
    assert told["verdict"] == scanned["verdict"]


def test_drawing_and_markdown(history: Path, tmp_path: Path) -> None:
    """The SVG is well-formed; Markdown keeps hostile names from being markup."""
    drawn, text = tmp_path / "report.svg", tmp_path / "report.md"
    assert main(["report", str(history), "-o", str(drawn)]) == 0
    assert main(["report", str(history), "-o", str(text)]) == 0
    assert ET.fromstring(drawn.read_text("utf-8")).tag.endswith("svg")  # noqa: S314 -- our own
    outside = re.sub(r"```.*?```", "", text.read_text("utf-8"), flags=re.DOTALL)
    assert "<script>" not in outside
    assert "\\<script\\>" in outside


def test_a_directory_is_scanned_first(run: Path, tmp_path: Path) -> None:
    """A report on a run that nobody scanned scans it, and keeps nothing if asked."""
    page = tmp_path / "report.md"
    assert main(["report", str(run), "--no-store", "-o", str(page)]) == 0
    assert "3 checkpoints" in page.read_text("utf-8")


@pytest.mark.parametrize(("name", "code"), [("report.pdf", 2), ("no/such/directory/r.md", 1)])
def test_a_place_that_cannot_be(
    history: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, code: int
) -> None:
    """An unknown suffix and a missing directory are errors that name the file."""
    assert main(["report", str(history), "-o", str(tmp_path / name)]) == code
    assert Path(name).name in capsys.readouterr().err


def test_an_empty_directory_has_no_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing readable is an error, and no file is left behind."""
    (tmp_path / "run").mkdir()
    out = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "run"), "--no-store", "-o", str(out)]) == 1
    assert "nothing readable" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("text", ["=1", "+1", "-1", "@x", "\tx"])
def test_formulas_are_guarded(text: str) -> None:
    """What a spreadsheet would run begins with a quote; names of layers stay as they are."""
    assert guarded(text) == f"'{text}"
    assert guarded("blocks.0.w") == "blocks.0.w"


def test_doctor_tells_where_each_setting_is_from(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every option is listed with its value and its origin: default, file, variable."""
    config = tmp_path / "config.toml"
    config.write_text('interval = 7.5\n[alerts]\npreset = "quiet"\n')
    monkeypatch.setenv("FORKMON_CONFIG", str(config))
    monkeypatch.setenv("FORKMON_ASCII", "1")
    assert main(["doctor", str(run)]) == 0
    lines = capsys.readouterr().out.splitlines()

    def line(name: str) -> str:
        return next(text for text in lines if text.split()[:1] == [name])

    assert "7.5" in line("interval")
    assert str(config) in line("interval")
    assert line("ascii").split() == ["ascii", "yes", "FORKMON_ASCII"]
    assert line("settle").endswith("default")
    assert "[alerts]" in line("[alerts]")
    assert any("numba" in text for text in lines)
    assert any("polled" in text or "events wake it" in text for text in lines)
