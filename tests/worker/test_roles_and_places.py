"""Roles, in-place checkpoints and provenance, from real files through a session to the store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from forkmon import wire
from forkmon.runs.order import place
from forkmon.runs.poll import Poller
from forkmon.stats.notes import OF_CHECKPOINT, Note, decode, whereabouts
from forkmon.stats.roles import DEFAULT_ROLES, parse_roles, qualified
from forkmon.store.writer import Writer
from forkmon.worker.backends import Device, open_engine
from forkmon.worker.session import Session, recover

LONG_AGO = 1_700_000_000


class Run:
    """A run directory, its store, and a session that analyses everything."""

    def __init__(self, base: Path) -> None:
        self.root = base / "run"
        self.root.mkdir()
        self.store = base / "run.db"
        self.events: list[wire.Event] = []

    def analyse(self, writer: Writer, *, roles: frozenset[str] = DEFAULT_ROLES) -> None:
        """Look until nothing waits, and analyse what settled."""
        session = self.session(writer, roles)
        self.drain(session)

    def session(self, writer: Writer, roles: frozenset[str] = DEFAULT_ROLES) -> Session:
        """Return a session that settles at once."""
        return Session(
            self.root,
            writer,
            Poller(self.root, interval=0.01, settle=0.01, roles=roles),
            engine=open_engine,
            device=Device("cpu", "a test"),
            notify=self.events.append,
            roles=roles,
        )

    def drain(self, session: Session) -> None:
        """Analyse all there is."""
        for _ in range(500):
            waiting = session.look().waiting
            while session.analyse_next():
                pass
            if not waiting:
                return
        pytest.fail("something never settles")

    def open(self) -> Writer:
        """Return the store's writer."""
        return Writer.open(self.store, run=self.root, name="run", kernel="t")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def nanogpt(path: Path, step: int, *, at: float) -> dict[str, Any]:
    """Write a checkpoint as nanoGPT does: over the one before, the step inside."""
    torch.manual_seed(step)
    layer = torch.nn.Linear(6, 4)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1)
    layer(torch.randn(3, 6)).sum().backward()
    optimizer.step()
    body = {
        "model": {f"_orig_mod.{k}": v.detach().clone() for k, v in layer.state_dict().items()},
        "ema": {k: v.detach() * 0.5 for k, v in layer.state_dict().items()},
        "optimizer": optimizer.state_dict(),
        "model_args": {"n_layer": 1},
        "iter_num": step,
        "best_val_loss": torch.tensor(1.5),
        "config": {"out_dir": "out"},
    }
    torch.save(body, path)
    os.utime(path, (at, at))
    return body


def rows(writer: Writer) -> dict[tuple[str, str], tuple[float | None, float | None]]:
    """Return mean and largest value of each tensor of the newest checkpoint, by role and name."""
    reader = writer.reader()
    newest = reader.timeline()[-1]
    stats = reader.stats(newest.id)
    entries = reader.tensors(newest.id, "tensor")
    return {(e.role, e.name): (stats[e.id].mean, stats[e.id].max) for e in entries}


def test_each_version_of_one_file_is_a_checkpoint(run: Run) -> None:
    """nanoGPT's ckpt.pt: every content is a row of its own; a later look stores nothing again."""
    path = run.root / "ckpt.pt"
    with run.open() as writer:
        session = run.session(writer)
        for step in (250, 500, 750):
            body = nanogpt(path, step, at=LONG_AGO + step)
            run.drain(session)
            found = rows(writer)
            for role in ("model", "ema"):
                for name, tensor in body[role].items():
                    mean, largest = found[role, name.removeprefix("_orig_mod.")]
                    assert mean == pytest.approx(float(tensor.double().mean()), rel=1e-12)
                    assert largest == float(tensor.max())
        run.drain(session)
        run.analyse(writer)
        timeline = writer.reader().timeline()
        assert [(row.step, row.version, row.path) for row in timeline] == [
            (step, 0, str(path)) for step in (250, 500, 750)
        ]
        assert len({row.segment for row in timeline}) == 1


def test_a_resume_in_place_opens_a_segment_and_a_restart_a_generation(run: Run) -> None:
    """Going back past the first step means that all was trained anew: no old file is left."""
    path = run.root / "ckpt.pt"
    with run.open() as writer:
        session = run.session(writer)
        for at, step in enumerate((100, 200, 300, 200, 300)):
            nanogpt(path, step, at=LONG_AGO + 100 * at)
            run.drain(session)
        rows_before = writer.reader().checkpoints()
        assert [(r.generation, r.segment, r.step) for r in rows_before] == [
            (0, 0, 100), (0, 0, 200), (0, 0, 300), (0, 1, 200), (0, 1, 300),
        ]  # fmt: skip
        nanogpt(path, 100, at=LONG_AGO + 1000)
        run.drain(session)
        assert [(r.generation, r.step) for r in writer.reader().checkpoints()][-1] == (1, 100)


def test_roles_decide_what_is_read(run: Run) -> None:
    """The optimizer is left out unless asked for; equal names of two roles stay apart."""
    nanogpt(run.root / "ckpt.pt", 10, at=LONG_AGO)
    with run.open() as writer:
        run.analyse(writer)
        assert {role for role, _ in rows(writer)} == {"model", "ema"}
        assert rows(writer)["model", "weight"] != rows(writer)["ema", "weight"]
    run.store.unlink()
    with run.open() as writer:
        run.analyse(writer, roles=frozenset({"model"}))
        assert {role for role, _ in rows(writer)} == {"model"}
    run.store.unlink()
    with run.open() as writer:
        run.analyse(writer, roles=frozenset({"optimizer"}))
        assert {role for role, _ in rows(writer)} == {"optimizer"}


def test_a_checkpoint_of_other_roles_says_how_to_see_them(run: Run) -> None:
    """An optimizer's file alone is no broken checkpoint: the reason names the option."""
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    path = run.root / "step_5.pt"
    torch.save({"optimizer": optimizer.state_dict()}, path)
    os.utime(path, (LONG_AGO, LONG_AGO))
    with run.open() as writer:
        run.analyse(writer)
        (failed,) = writer.reader().failed()
        assert "--roles optimizer" in str(failed.reason)


def test_a_crash_is_blamed_on_one_role(run: Run) -> None:
    """A tensor in quarantine leaves the one of the same name and another role alone."""
    path = run.root / "ckpt.pt"
    nanogpt(path, 10, at=LONG_AGO)
    with run.open() as writer:
        for _ in range(2):
            session = run.session(writer)
            ready = session.look().ready
            while not ready:
                ready = session.look().ready
            candidate = session._candidate(ready[0], place([], ready[0], live=False))
            attempt = writer.begin(**candidate)
            writer.working_on(attempt, qualified("weight", "ema"))
            recover(writer, "SIGSEGV")
        run.analyse(writer)
        assert set(rows(writer)) == {("model", "weight"), ("model", "bias"), ("ema", "bias")}
        (skipped, *_) = writer.reader().skipped(writer.reader().timeline()[-1].id)
        assert skipped.name == "ema:weight"


def test_each_tensor_says_where_it_lies(run: Run) -> None:
    """The bytes at the noted file and place are the tensor's."""
    directory = run.root / "checkpoint-7"
    directory.mkdir()
    weights = {f"h.{i}.w": np.full((2, 3), i + 1, np.float32) for i in range(4)}
    names = list(weights)
    shards = {"model-00001-of-00002.safetensors": names[:2],
              "model-00002-of-00002.safetensors": names[2:]}  # fmt: skip
    for shard, inside in shards.items():
        save_file({name: weights[name] for name in inside}, directory / shard)
        os.utime(directory / shard, (LONG_AGO, LONG_AGO))
    with run.open() as writer:
        run.analyse(writer)
        reader = writer.reader()
        for shard, inside in shards.items():
            for name in inside:
                note = decode(reader.note(name))
                assert note.file == shard
                assert note.offset is not None
                raw = (directory / shard).read_bytes()[note.offset :][:24]
                assert raw == weights[name].tobytes()
        at = whereabouts(reader.note(OF_CHECKPOINT))
        assert at is not None
        assert at.checkpoint == reader.timeline()[-1].id
        assert at.complete in ("marker", "heuristic")


def test_the_name_on_disk_is_kept(run: Run) -> None:
    """A stripped prefix is one key away."""
    nanogpt(run.root / "ckpt.pt", 10, at=LONG_AGO)
    with run.open() as writer:
        run.analyse(writer)
        note = decode(writer.reader().note("weight"))
        assert note.stored_as.endswith("_orig_mod.weight")
        assert note.file == ""
        assert decode(writer.reader().note("ema:weight")).offset != note.offset


def test_the_trainer_s_log_is_stored_with_the_checkpoints(run: Run) -> None:
    """Curves come from where they lie, under the trainer's own names; lost logs keep theirs."""
    nanogpt(run.root / "ckpt.pt", 10, at=LONG_AGO)
    log = run.root / "log.jsonl"
    log.write_text('{"step": 5, "train/loss": 2.5}\n{"step": 10, "train/loss": 2.0}\n')
    with run.open() as writer:
        run.analyse(writer)
        assert writer.reader().metrics() == {"train/loss": ((5, 2.5), (10, 2.0))}
        log.unlink()
        session = run.session(writer)
        session.refresh()
        assert writer.reader().metrics() == {"train/loss": ((5, 2.5), (10, 2.0))}


@pytest.mark.parametrize(
    "note",
    [
        Note(), Note("part of x"), Note(offset=0), Note("tied", "a.safetensors", 9, 1, 1, "old"),
        Note("", "shard", None, 8, 4, "name\nof [red]"),
    ],
)  # fmt: skip
def test_a_note_is_read_back(note: Note) -> None:
    """Words and place survive the store; what is usual takes no room."""
    assert decode(note.encode()) == note
    assert note != Note() or note.encode() == ""


def test_roles_are_parsed() -> None:
    """Known words between commas; anything else is nothing."""
    assert parse_roles("model, ema") == frozenset({"model", "ema"})
    assert parse_roles("optimizer") == frozenset({"optimizer"})
    assert parse_roles("") is None
    assert parse_roles("model,grads") is None
