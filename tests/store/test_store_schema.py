"""Migrations, journal modes, and files that are damaged, newer or somebody else's."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from forkmon.errors import StoreError, StoreNewerError
from forkmon.runs.filesystem import FileSystem
from forkmon.store import opening, reading, schema
from forkmon.store.place import state_directory, store_path
from forkmon.store.reader import Reader
from forkmon.store.writer import Writer

Put = Callable[..., int]
FIXTURES = sorted(Path(__file__).parent.glob("schema_*.sql"))


def layout(connection: sqlite3.Connection) -> set[tuple[str, str]]:
    rows = connection.execute(
        "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'"
    )
    return {(name, " ".join(sql.split())) for name, sql in rows}


def made_from(fixture: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.executescript(fixture.read_text(encoding="utf-8"))
    connection.close()


def next_version(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE checkpoint ADD COLUMN mood TEXT NOT NULL DEFAULT 'calm'")
    connection.execute("UPDATE checkpoint SET device = 'migrated'")


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that teaches this forkmon one more migration."""

    def teach(migration: schema.Migration = next_version) -> None:
        longer = (*schema.MIGRATIONS, migration)
        monkeypatch.setattr(schema, "MIGRATIONS", longer)
        monkeypatch.setattr(reading, "MIGRATIONS", longer)

    return teach


def test_every_released_schema_is_kept() -> None:
    """Each version has its fixture; a new migration needs one more."""
    assert [path.name for path in FIXTURES] == [
        f"schema_{i + 1}.sql" for i in range(len(schema.MIGRATIONS))
    ]


@pytest.mark.parametrize("fixture", FIXTURES, ids=lambda path: path.stem)
def test_an_old_store_becomes_a_new_one(
    fixture: Path, store: Path, open_writer: Callable[[], Writer], put: Put
) -> None:
    """A store of any version has the newest layout once opened, and all it held."""
    made_from(fixture, store)
    with Writer.open(None, run=Path("/r"), name="r", kernel="k") as fresh, open_writer() as old:
        assert layout(old.connection) == layout(fresh.connection)
        reader = old.reader()
        assert [row.step for row in reader.timeline()] == [100, 200]
        assert [row.reason for row in reader.failed()] == ["truncated"]
        entry = reader.find("h.0.weight", "tensor")
        assert entry is not None
        assert (entry.dtype, entry.shape) == ("bf16", (4, 5))
        assert reader.series(entry.id, reader.timeline()).values["mean"] == (0.5, 0.5)
        assert reader.reduced(entry.id, reader.timeline()[0].id) is not None
        assert [alert.kind for alert in reader.alerts()] == ["NAN"]
        assert reader.run().created == 1700000000.0
        put(old, 400)


def test_a_migration_is_recorded_and_done_once(
    store: Path, open_writer: Callable[[], Writer], newer: Callable[..., None]
) -> None:
    """The table of migrations tells which ran; a second opening runs none."""
    made_from(FIXTURES[-1], store)
    before = len(schema.MIGRATIONS)
    newer()
    for _ in range(2):
        with open_writer() as writer:
            rows = writer.connection.execute("SELECT version, name FROM migration").fetchall()
            assert rows[-1] == (before + 1, "next_version")
            assert len(rows) == before + 1
            assert {row.device for row in writer.reader().checkpoints()} == {"migrated"}


def test_a_failing_migration_changes_nothing(
    store: Path, open_writer: Callable[[], Writer], newer: Callable[..., None]
) -> None:
    """Half a migration is rolled back, and the old forkmon still reads the store."""

    def half(connection: sqlite3.Connection) -> None:
        next_version(connection)
        connection.execute("UPDATE no_such_table SET x = 1")

    made_from(FIXTURES[-1], store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, half))
        with pytest.raises(StoreError, match="no such table"):
            open_writer()
    with Reader.open(store) as reader:
        assert {row.device for row in reader.checkpoints()} == {"cpu"}
        assert "mood" not in str(layout(reader._source.connection))


def test_a_reader_migrates_a_copy_of_an_old_store(store: Path, newer: Callable[..., None]) -> None:
    """Looking at an old history does not change it."""
    made_from(FIXTURES[-1], store)
    before = store.read_bytes()
    newer()
    with Reader.open(store) as reader:
        assert reader.copied
        assert {row.device for row in reader.checkpoints()} == {"migrated"}
    assert store.read_bytes() == before


def test_a_newer_store_is_refused_and_untouched(
    store: Path, open_writer: Callable[[], Writer]
) -> None:
    """What a newer forkmon wrote is neither read wrongly nor written, and the lock is let go."""
    with open_writer() as writer:
        writer.connection.execute("INSERT INTO migration VALUES (99, 'later', 0)")
    before = store.read_bytes()
    for act in (
        open_writer,
        lambda: Reader.open(store),
        lambda: Writer.copy_of(store, run=Path("/r"), name="r", kernel="k"),
    ):
        with pytest.raises(StoreNewerError, match="upgrade forkmon"):
            act()
    assert store.read_bytes() == before
    assert not store.with_name("run.db.lock").exists()


@pytest.mark.parametrize("damage", ["truncated", "zeroed tail", "torn header page"])
def test_a_damaged_store_is_moved_aside(
    damage: str, store: Path, open_writer: Callable[[], Writer], put: Put
) -> None:
    """Monitoring goes on with a new history, and the old file is kept."""
    with open_writer() as writer:
        put(writer, 1, 500)
    data = store.read_bytes()
    broken = {
        "truncated": data[: len(data) // 2],
        "zeroed tail": data[:200] + bytes(len(data) - 200),
        "torn header page": data[:100] + b"\xff" * 4000 + data[4100:],
    }[damage]
    store.write_bytes(broken)
    with open_writer() as writer:
        assert "damaged" in writer.note
        put(writer, 2)
        assert [row.step for row in writer.reader().timeline()] == [2]
    (aside,) = store.parent.glob("run.db.damaged-*")
    assert aside.read_bytes() == broken


def test_somebody_elses_file_is_left_alone(store: Path, open_writer: Callable[[], Writer]) -> None:
    """`--store FILE` on a wrong file is an error, never a move."""
    store.parent.mkdir()
    connection = sqlite3.connect(store)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    for content, words in ((store.read_bytes(), "another program"), (b"text " * 999, "not a data")):
        store.write_bytes(content)
        with pytest.raises(StoreError, match=words):
            open_writer()
        assert store.read_bytes() == content


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """A file where the directory should be gives one line."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="choose another --store FILE"):
        Writer.open(tmp_path / "file" / "x.db", run=tmp_path, name="r", kernel="k")


def test_local_disks_have_a_log(writer: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a local file system the store journals by WAL, and nothing is said."""
    assert (writer.journal, writer.note) == ("wal", "")


@pytest.mark.parametrize("refusal", ["network", "probe"])
def test_elsewhere_a_rollback_journal_does(
    refusal: str, store: Path, open_writer: Callable[[], Writer], put: Put,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Network and unknown file systems, and those without WAL, get TRUNCATE and a note."""
    if refusal == "network":
        monkeypatch.setattr(opening, "kind", lambda _path: FileSystem("nfs4", network=True))
    else:
        monkeypatch.setattr(opening, "_log_works", lambda _directory: False)
    with open_writer() as writer:
        assert writer.journal == "truncate"
        assert "truncate journal" in writer.note
        put(writer, 1)
        with Reader.open(store) as reader:
            before = reader.version()
            put(writer, 2)
            assert reader.version() != before
            assert len(reader.timeline()) == 2
    assert not store.with_name("run.db-wal").exists()


def test_a_log_is_given_up_after_a_move(
    open_writer: Callable[[], Writer], put: Put, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that comes to a network file system changes its journal and keeps its history."""
    with open_writer() as writer:
        put(writer, 1)
    monkeypatch.setattr(opening, "kind", lambda _path: FileSystem("lustre", network=True))
    with open_writer() as writer:
        assert writer.journal == "truncate"
        assert [row.step for row in writer.reader().timeline()] == [1]


def test_a_run_has_one_place(tmp_path: Path) -> None:
    """The place follows the real path, and is readable by people."""
    run = tmp_path / "my run\x1b[31m"
    run.mkdir()
    (tmp_path / "link").symlink_to(run)
    environ = {"XDG_STATE_HOME": str(tmp_path / "state"), "HOME": "/home/x"}
    path = store_path(run, environ)
    assert path == store_path(tmp_path / "link", environ) == store_path(run / ".", environ)
    assert path != store_path(tmp_path, environ)
    assert path.parent == tmp_path / "state" / "forkmon"
    assert path.name.startswith("my_run_31m-")
    assert state_directory({"XDG_STATE_HOME": "relative", "HOME": "/home/x"}) == Path(
        "/home/x/.local/state/forkmon"
    )
