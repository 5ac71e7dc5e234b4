"""TensorBoard event files, held against the writer that everybody uses."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.tensorboard import SummaryWriter

from forkmon.runs import tfevents
from forkmon.runs.metrics import Logs

from .fuzz_targets_metrics import TARGETS, frame


def event_files(root: Path) -> list[Path]:
    """Return the event files below a directory."""
    return sorted(root.rglob("events.out.tfevents.*"))


def test_checksums_are_those_of_the_standard() -> None:
    """The vectors of RFC 3720, B.4."""
    assert tfevents.crc32c(b"123456789") == 0xE3069283
    assert tfevents.crc32c(bytes(32)) == 0x8A9136AA
    assert tfevents.crc32c(b"\xff" * 32) == 0x62A8AB43


def test_scalars_are_those_that_were_written(tmp_path: Path) -> None:
    """Old and new style, negative, huge and tiny; what is no number is passed over."""
    writer = SummaryWriter(str(tmp_path / "runs" / "one"))
    wanted: dict[str, list[tuple[int, float]]] = {"train/loss": [], "lr": [], "deep/a b.c": []}
    rng = np.random.default_rng(0)
    for step in range(200):
        for name, style in (("train/loss", False), ("lr", True), ("deep/a b.c", False)):
            value = float(np.float32(rng.standard_normal() * 10.0 ** rng.integers(-30, 30)))
            writer.add_scalar(name, value, step, new_style=style)
            wanted[name].append((step, value))
        writer.add_histogram("weights", rng.standard_normal(50), step)
        writer.add_text("note", f"step {step}", step)
    writer.add_scalar("train/loss", float("nan"), 200)
    writer.add_scalar("double", 2.0**60, 1, double_precision=True, new_style=True)
    writer.add_image("image", rng.random((3, 400, 400)), 1)
    writer.add_scalar("after", 5.0, 1)
    writer.close()
    curves = Logs(tmp_path).curves(None)
    assert curves == {**wanted, "double": [(1, 2.0**60)], "after": [(1, 5.0)]}


def test_a_cut_file_gives_what_is_whole_and_goes_on(tmp_path: Path) -> None:
    """At every length the scalars are a prefix; once the rest is there, all of them come."""
    writer = SummaryWriter(str(tmp_path / "source"))
    for step in range(6):
        writer.add_scalar("loss", float(step), step)
    writer.close()
    (source,) = event_files(tmp_path / "source")
    raw = source.read_bytes()
    target = tmp_path / "run" / source.name
    target.parent.mkdir()
    logs, last = Logs(target.parent), 0
    for length in range(len(raw) + 1):
        target.write_bytes(raw[:length])
        points = logs.curves(None).get("loss", [])
        assert points == [(step, float(step)) for step in range(len(points))]
        assert len(points) >= last
        last = len(points)
    assert last == 6


@pytest.mark.parametrize("at", [3, 10, 20, -2])
def test_a_damaged_record_ends_the_file_without_a_wrong_number(tmp_path: Path, at: int) -> None:
    """A flipped bit in length, checksum, body or footer: nothing from there on is believed."""
    good = frame(_event(1, "loss", 0.5))
    bad = bytearray(frame(_event(2, "loss", 0.25)))
    bad[at] ^= 4
    path = tmp_path / "events.out.tfevents.1.host"
    path.write_bytes(good + bytes(bad) + frame(_event(3, "loss", 0.1)))
    assert Logs(tmp_path).curves(None) == {"loss": [(1, 0.5)]}


def test_zeros_that_a_server_shows_before_the_data_are_no_end(tmp_path: Path) -> None:
    """The tail is zero at first, as on a network file system, and filled later."""
    path = tmp_path / "events.out.tfevents.1.host"
    first, second = frame(_event(1, "loss", 0.5)), frame(_event(2, "loss", 0.25))
    path.write_bytes(first + bytes(len(second)))
    logs = Logs(tmp_path)
    assert logs.curves(None) == {"loss": [(1, 0.5)]}
    path.write_bytes(first + second + frame(_event(3, "loss", 0.125)))
    assert logs.curves(None)["loss"] == [(1, 0.5), (2, 0.25), (3, 0.125)]


def test_a_resume_that_goes_back_wins_from_its_first_step(tmp_path: Path) -> None:
    """A later file of the same directory, and of a directory beside it, replaces what follows."""
    for number, (name, first, last) in enumerate([("a", 0, 50), ("a", 30, 60), ("b", 55, 70)]):
        path = tmp_path / "runs" / name / f"events.out.tfevents.{1000 + number}.host.1.0"
        path.parent.mkdir(parents=True, exist_ok=True)
        records = [frame(_event(s, "loss", 100.0 * number + s)) for s in range(first, last)]
        path.write_bytes(b"".join(records))
    points = Logs(tmp_path).curves(None)["loss"]
    assert points == [
        *((s, float(s)) for s in range(30)),
        *((s, 100.0 + s) for s in range(30, 55)),
        *((s, 200.0 + s) for s in range(55, 70)),
    ]


def test_a_purge_step_forgets_what_it_names(tmp_path: Path) -> None:
    """SummaryWriter(purge_step=N) says so in the file itself; here within one file."""
    raw = [frame(_event(step, "loss", 1.0)) for step in range(10)]
    raw.append(frame(b"\x10\x06" + b"\x3a\x02\x08\x01"))  # step 6, session_log { status: START }
    raw.append(frame(_event(8, "loss", 2.0)))
    (tmp_path / "events.out.tfevents.1.host").write_bytes(b"".join(raw))
    assert Logs(tmp_path).curves(None)["loss"] == [*((s, 1.0) for s in range(6)), (8, 2.0)]


def test_writers_side_by_side_keep_their_names_apart(tmp_path: Path) -> None:
    """`add_scalars` and Keras write one tag from several directories."""
    writer = SummaryWriter(str(tmp_path / "logs"))
    writer.add_scalars("losses", {"a": 1.0, "b": 2.0}, 3)
    writer.add_scalar("loss", 0.5, 3)
    writer.close()
    for kind, value in (("train", 7.0), ("validation", 8.0)):
        path = tmp_path / "tb" / kind / "events.out.tfevents.1.host"
        path.parent.mkdir(parents=True)
        path.write_bytes(frame(_event(1, "epoch_loss", value)))
    assert Logs(tmp_path).curves(None) == {
        "loss": [(3, 0.5)],
        "losses_a/losses": [(3, 1.0)],
        "losses_b/losses": [(3, 2.0)],
        "train/epoch_loss": [(1, 7.0)],
        "validation/epoch_loss": [(1, 8.0)],
    }


def test_a_link_or_a_fifo_in_place_of_a_log_is_left_alone(tmp_path: Path) -> None:
    """Nothing outside the run is opened, and nothing blocks."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "events.out.tfevents.1.host").write_bytes(frame(_event(1, "loss", 1.0)))
    run = tmp_path / "run"
    run.mkdir()
    (run / "events.out.tfevents.2.host").symlink_to(outside / "events.out.tfevents.1.host")
    (run / "logs").symlink_to(outside)
    os.mkfifo(run / "metrics.csv")
    assert Logs(run).curves(None) == {}


def test_a_tensor_of_many_elements_is_no_scalar() -> None:
    """Only one number is a number: histograms and texts are tensors too."""
    floats = struct.pack("<3f", 1, 2, 3)
    shape = b"\x12\x04\x12\x02\x08\x03"
    tensor = b"\x08\x01" + shape + b"\x22" + bytes([len(floats)]) + floats
    value = b"\x0a\x01h" + b"\x42" + bytes([len(tensor)]) + tensor
    assert tfevents.scalars(_wrapped(1, value), tfevents.masked(_wrapped(1, value))) == []


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
@given(data=st.binary(max_size=400))
def test_no_bytes_harm_a_reader(target: object, data: bytes) -> None:
    """Each fuzz target returns, whatever the bytes."""
    assert callable(target)
    target(data)


@given(
    step=st.integers(0, 10**17),
    tag=st.text(min_size=1, max_size=30),
    value=st.floats(width=32, allow_nan=False, allow_infinity=False),
    cut=st.integers(0, 200),
    flip=st.integers(0, 400),
)
def test_a_changed_record_is_read_right_or_not_at_all(
    step: int, tag: str, value: float, cut: int, flip: int
) -> None:
    """One flipped bit never makes another number."""
    body = _event(step, tag, value)
    seen = tfevents.masked(body)
    assert tfevents.scalars(body, seen) == [tfevents.Scalar(tag, step, value)]
    changed = bytearray(body)
    changed[cut % len(body)] ^= 1 << (flip % 8)
    found = tfevents.scalars(bytes(changed), seen)
    assert isinstance(found, tfevents.Broken) or found == []


def _event(step: int, tag: str, value: float) -> bytes:
    name = tag.encode()
    return _wrapped(step, b"\x0a" + _varint(len(name)) + name + b"\x15" + struct.pack("<f", value))


def _wrapped(step: int, value: bytes) -> bytes:
    inner = b"\x0a" + _varint(len(value)) + value
    wall = b"\x09" + struct.pack("<d", 1.5)
    return wall + b"\x10" + _varint(step) + b"\x2a" + _varint(len(inner)) + inner


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
