"""Hostile files: mutated real ones and lies by hand; an error of ours or the right tensors."""

from __future__ import annotations

import importlib.util
import io
import pickle  # noqa: TID251 - to make files that must not be executed
import struct
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from forkmon.errors import CheckpointError, FormatError
from forkmon.formats.proof import Damaged, prove
from forkmon.formats.torch_reader import TorchReader
from forkmon.runs.refs import CheckpointRef

RefOf = Callable[..., CheckpointRef]


def _targets() -> ModuleType:
    path = Path(__file__).with_name("fuzz_targets_torch.py")
    spec = importlib.util.spec_from_file_location("fuzz_targets_torch", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TARGETS = _targets()


def _gguf() -> bytes:
    """Return a small GGUF file."""
    text = b"general.name"
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, 1) + struct.pack("<Q", len(text)) + text
    head += struct.pack("<IQ", 8, 2) + b"ab"
    head += struct.pack("<Q", 1) + b"w" + struct.pack("<I2QIQ", 2, 4, 2, 0, 0)
    return head.ljust(-(-len(head) // 32) * 32, b"\0") + bytes(32)


def _seeds() -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    value = {
        "model": net.state_dict(),
        "optimizer": {"state": {0: {"exp_avg": torch.ones(3, 2)}}, "param_groups": [
            {"params": [0]}]},
        "t": {"x.y": torch.arange(6.0).reshape(2, 3).t(), "z": torch.ones(9)[::2]},
        "epoch": 3,
    }  # fmt: skip
    for name, zipped in (("zip", True), ("legacy", False)):
        buffer = io.BytesIO()
        torch.save(value, buffer, _use_new_zipfile_serialization=zipped)
        found[name] = buffer.getvalue()
    buffer = io.BytesIO()
    torch.save(net, buffer)
    found["module"] = buffer.getvalue()
    buffer = io.BytesIO()
    np.savez(buffer, a=np.ones((2, 3)), b=np.asfortranarray(np.ones((2, 3), np.float32)))
    found["npz"] = buffer.getvalue()
    found["gguf"] = _gguf()
    with zipfile.ZipFile(io.BytesIO(found["zip"])) as archive:
        found["pickle"] = archive.read("archive/data.pkl")
    return found


SEEDS = _seeds()


TELLING = [b"\xff" * 8, b"\0" * 8, b"\xff\xff\xff\x7f", b"PK\5\6", b"cos\nsystem\n"]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """Return a real file with bytes changed, cut out, doubled or appended."""
    raw = bytearray(SEEDS[draw(st.sampled_from(sorted(SEEDS)))])
    for _ in range(draw(st.integers(1, 6))):
        # The pickle and the directory are where a change means something.
        where = draw(st.integers(0, len(raw) - 1) | st.integers(0, min(600, len(raw) - 1))
                     | st.integers(max(0, len(raw) - 700), len(raw) - 1))  # fmt: skip
        match draw(st.sampled_from(["set", "set", "bytes", "cut", "copy"])):
            case "set":
                raw[where] = draw(st.integers(0, 255))
            case "bytes":
                some = draw(st.binary(min_size=1, max_size=9) | st.sampled_from(TELLING))
                raw[where : where + len(some)] = some
            case "cut":
                del raw[where : where + draw(st.integers(1, 40))]
            case _:
                raw[where:where] = raw[where : where + draw(st.integers(1, 60))]
        if not raw:
            break
    return bytes(raw)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(mutated() | st.binary(max_size=300))
def test_no_mutation_of_a_real_file_escapes(data: bytes) -> None:
    """Every parser answers any bytes with a value or an error of the CheckpointError family."""
    for target in TARGETS.TARGETS:
        target(data)


def test_every_single_byte_of_a_pickle_may_be_wrong() -> None:
    """One byte after the other takes its extremes."""
    raw = SEEDS["pickle"]
    for at in range(len(raw)):
        for value in (0, 0x7F, 0xFF, raw[at] ^ 1):
            TARGETS.fuzz_pickle(raw[:at] + bytes([value]) + raw[at + 1 :])


def test_every_prefix_of_every_file_is_answered() -> None:
    """Files end anywhere."""
    for name, raw in SEEDS.items():
        for length in range(0, len(raw), 7 if len(raw) > 2000 else 1):
            for target in TARGETS.TARGETS[:-1]:
                target(raw[:length])
        assert name


class Evil:
    """An object whose pickle runs a command, as torch.load would."""

    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def test_no_file_runs_anything(tmp_path: Path) -> None:
    """Evil files in every place: no process, no import, no open outside the run's directory."""
    import os as system

    corpus = tmp_path / "run"
    corpus.mkdir()
    command = f"touch {tmp_path}/PROOF"
    evils = [Evil(system.system, command), Evil(eval, f"__import__('os').system({command!r})"),
             Evil(exec, "import os"), Evil(open, "/etc/passwd")]  # fmt: skip
    for index, evil in enumerate(evils):
        for zipped in (True, False):
            where = {"model": {"a.w": torch.ones(2)}, "args": evil, "evil": [evil]}
            path = corpus / f"{index}{zipped}.pt"
            torch.save(where, path, _use_new_zipfile_serialization=zipped)
    (corpus / "plain.pt").write_bytes(pickle.dumps(evils))
    np.savez(corpus / "objects.npz", a=np.array([evils[0]], object))
    (corpus / "mutant.pt").write_bytes(SEEDS["zip"][:-1])
    events = _audited(corpus)
    assert not (tmp_path / "PROOF").exists()
    opens = {event.partition(" ")[2] for event in events if event.startswith("open ")}
    assert all(path.startswith(str(corpus)) for path in opens), opens
    assert opens
    assert {event for event in events if not event.startswith("open ")} <= {"os.listdir"}


def _audited(directory: Path) -> list[str]:
    """Return what the interpreter reports while every file is proved and listed."""
    program = textwrap.dedent(
        """
        import json, os, pathlib, sys
        from forkmon.errors import CheckpointError
        from forkmon.formats import proof, sniff
        from forkmon.formats.npz import NpzReader
        from forkmon.formats.opening import file_print
        from forkmon.formats.torch_reader import TorchReader
        from forkmon.runs.refs import CheckpointRef, Fingerprint
        import encodings.latin_1, encodings.raw_unicode_escape
        seen, armed = [], False
        quiet = ("os.fstat", "object.__getattr__", "fcntl.fcntl", "builtins.id")
        def hook(event, args):
            if armed and event not in quiet:
                seen.append(f"open {args[0]}" if event == "open" else event)
        sys.addaudithook(hook)
        def look(path):
            proof.prove(path)
            prints = Fingerprint((file_print(path.name, path.stat()),))
            ref = CheckpointRef(path, 1, "torch", (path,), prints, "heuristic")
            for reader in (TorchReader(), NpzReader()):
                try:
                    reader.listing(ref)
                except CheckpointError:
                    pass
        paths = sorted(pathlib.Path(sys.argv[1]).iterdir())
        for path in paths:
            armed = True
            look(path)
            armed = False
        print(json.dumps(seen))
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(directory)],
        capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    import json

    return [str(event) for event in json.loads(done.stdout)]


def _torch_zip(pickled: bytes, storages: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x/data.pkl", pickled)
        for key, raw in storages.items():
            archive.writestr(f"x/data/{key}", raw)
    return buffer.getvalue()


def _tensor(offset: int, shape: list[int], strides: list[int], numel: int = 4) -> bytes:
    """Return a pickle of one tensor that says what it likes of itself."""

    def number(value: int) -> bytes:
        raw = value.to_bytes(9, "little", signed=True)
        return b"\x8a" + bytes([len(raw)]) + raw

    def sizes(values: list[int]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    storage = b"(X\7\0\0\0storagectorch\nFloatStorage\nX\1\0\0\x000X\3\0\0\0cpu" + number(numel)
    body = storage + b"tQ" + number(offset) + sizes(shape) + sizes(strides) + b"\x89}t"
    return b"\x80\2}X\3\0\0\0w.wctorch._utils\n_rebuild_tensor_v2\n(" + body + b"Rs."


@pytest.mark.parametrize(
    ("offset", "shape", "strides"),
    [
        (1, [4], [1]), (0, [5], [1]), (0, [2, 2], [3, 1]), (2**62, [1], [1]), (-1, [2], [1]),
        (0, [2], [-1]), (0, [2**62, 2**62], [1, 1]), (0, [2], [2**62]), (4, [1], [0]),
        (0, [2], [1, 1]), (0, [-1], [1]), (0, [1] * 65, [1] * 65),
    ],
)  # fmt: skip
def test_a_tensor_beyond_its_storage_is_refused(
    tmp_path: Path, ref_of: RefOf, offset: int, shape: list[int], strides: list[int]
) -> None:
    """Offsets, shapes and strides that reach outside are never read (CVE-2026-24747's class)."""
    path = tmp_path / "x.pt"
    path.write_bytes(_torch_zip(_tensor(offset, shape, strides), {"0": bytes(16)}))
    with pytest.raises(FormatError):
        TorchReader().listing(ref_of(path))


def test_the_crafted_tensor_is_fine_when_it_tells_the_truth(tmp_path: Path, ref_of: RefOf) -> None:
    """The cases above fail for what they say, not for how they are written."""
    path = tmp_path / "x.pt"
    path.write_bytes(_torch_zip(_tensor(0, [2, 2], [2, 1]), {"0": bytes(16)}))
    assert TorchReader().listing(ref_of(path)).tensors[0].shape == (2, 2)


def test_what_a_storage_claims_does_not_count(tmp_path: Path, ref_of: RefOf) -> None:
    """A storage of a million elements in sixteen bytes has sixteen bytes."""
    path = tmp_path / "x.pt"
    path.write_bytes(_torch_zip(_tensor(0, [1000], [1], numel=1_000_000), {"0": bytes(16)}))
    with pytest.raises(FormatError, match="reaches beyond the 16 bytes"):
        TorchReader().listing(ref_of(path))


def test_members_with_paths_are_only_names(tmp_path: Path, ref_of: RefOf) -> None:
    """Nothing is extracted, so `..` leads nowhere."""
    path = tmp_path / "x.pt"
    buffer = io.BytesIO(_torch_zip(_tensor(0, [4], [1]), {"0": bytes(16)}))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("../../evil", b"x")
        archive.writestr("/etc/passwd", b"x")
    path.write_bytes(buffer.getvalue())
    assert len(TorchReader().listing(ref_of(path)).tensors) == 1


def _patched(raw: bytes, at: int, new: bytes) -> bytes:
    return raw[:at] + new + raw[at + len(new) :]


def test_directories_that_lie_are_refused(tmp_path: Path) -> None:
    """Entries twice, overlaps, wrong counts, wrong places, several disks: all damaged."""
    good = _torch_zip(_tensor(0, [4], [1]), {"0": bytes(16)})
    end = good.rindex(b"PK\5\6")
    first = good.index(b"PK\1\2")
    second = good.index(b"PK\1\2", first + 4)
    lies = {
        "count": _patched(good, end + 8, struct.pack("<HH", 3, 3)),
        "parts": _patched(good, end + 4, b"\1\0"),
        "start": _patched(good, end + 16, struct.pack("<I", 5)),
        "size": _patched(good, end + 12, struct.pack("<I", 5)),
        "overlap": _patched(good, second + 42, struct.pack("<I", 4)),
        "outside": _patched(good, second + 42, struct.pack("<I", 1 << 30)),
        "length": _patched(good, second + 20, struct.pack("<II", 1 << 20, 1 << 20)),
        "two lengths": _patched(good, second + 20, struct.pack("<I", 3)),
        "wide without": _patched(good, second + 20, b"\xff" * 8),
        "no header": _patched(good, good.index(b"PK\3\4", 4), b"XXXX"),
    }
    path = tmp_path / "x.pt"
    twice = io.BytesIO(good)
    with zipfile.ZipFile(twice, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("x/data/0", b"other")
    lies["twice"] = twice.getvalue()
    for name, raw in lies.items():
        path.write_bytes(raw)
        TARGETS.fuzz_torch(raw)
        assert isinstance(prove(path), Damaged) or name == "no header", name


@pytest.mark.parametrize("count", [70_000])
def test_an_archive_of_very_many_entries_is_read(tmp_path: Path, count: int) -> None:
    """More entries than the old format can count; the wide numbers are used."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x/data.pkl", b"\x80\2}.")
        for index in range(count):
            archive.writestr(zipfile.ZipInfo(f"x/data/{index}"), b"")
    path = tmp_path / "x.pt"
    path.write_bytes(buffer.getvalue())
    assert not isinstance(prove(path), Damaged)


def test_names_of_any_kind_are_only_text(tmp_path: Path, ref_of: RefOf) -> None:
    """Escapes, markup, giant names and lone surrogates arrive as names or are skipped."""
    names = ["\x1b[2J.w", "[red]a.w", "x" * 5000 + ".w", "\u202e.w", "a\nb.w", ".w"]
    path = tmp_path / "x.pt"
    torch.save({name: torch.ones(2) for name in names}, path)
    listing = TorchReader().listing(ref_of(path))
    assert {tensor.name for tensor in listing.tensors} == {n for n in names if len(n) < 5000}
    assert "5,002 characters" in listing.skipped[0].reason


def test_errors_never_carry_raw_text(tmp_path: Path, ref_of: RefOf) -> None:
    """What a file says of itself reaches messages only through the one door."""
    path = tmp_path / "x\x1b[2J.pt"
    tensor = _tensor(9, [4], [1]).replace(b"X\3\0\0\0w.w", b"X\7\0\0\0w\x1b[2J.w")
    path.write_bytes(_torch_zip(tensor, {"0": bytes(16)}))
    with pytest.raises(CheckpointError) as caught:
        TorchReader().listing(ref_of(path))
    assert "\x1b" not in str(caught.value)
