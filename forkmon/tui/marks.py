"""What a person marks: acknowledged alerts, muted kinds, the baseline; a file of their own."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from forkmon.stats.alert import Alert

AlertKey = tuple[str, str | None, int]

_CAP = 4 << 20
_MOST = 20_000


@dataclass(frozen=True, slots=True)
class Marks:
    """A person's marks on one run."""

    acknowledged: frozenset[AlertKey] = frozenset()
    muted: frozenset[str] = frozenset()
    """Kinds that are not listed."""
    baseline: tuple[int, int, int] | None = None
    """(segment, step, version) of the checkpoint that others are compared with."""
    view: dict[str, str | bool] = field(default_factory=dict[str, "str | bool"])
    """How the person last looked at the run: panel, statistic, scales."""

    def acknowledge(self, key: AlertKey) -> Marks:
        """Return the marks with an alert acknowledged, or no longer so."""
        return replace(self, acknowledged=self.acknowledged ^ {key})

    def mute(self, kind: str) -> Marks:
        """Return the marks with a kind muted, or heard again."""
        return replace(self, muted=self.muted ^ {kind})

    def heard(self, alerts: Iterable[Alert]) -> list[Alert]:
        """Return the alerts that are not muted, acknowledged ones last, else in their order."""
        kept = [alert for alert in alerts if alert.kind not in self.muted]
        return sorted(kept, key=lambda alert: alert.key in self.acknowledged)


def marks_path(store: Path) -> Path:
    """Return the file for the marks on the run in a store: beside forkmon's own state."""
    from forkmon.store.place import state_directory

    digest = hashlib.blake2b(os.fsencode(os.path.realpath(store)), digest_size=8).hexdigest()
    return state_directory() / "marks" / f"{digest}.json"


def load(path: Path) -> Marks:
    """Return the marks in a file; an unusable file is as good as none."""
    try:
        with path.open("rb") as file:
            raw = file.read(_CAP + 1)
        body: object = json.loads(raw) if len(raw) <= _CAP else None
    except (OSError, ValueError, RecursionError):
        return Marks()
    if not isinstance(body, dict):
        return Marks()
    found = cast("dict[str, object]", body)
    return Marks(
        frozenset(key for item in _items(found.get("acknowledged")) if (key := _key(item))),
        frozenset(kind for kind in _items(found.get("muted")) if isinstance(kind, str)),
        _baseline(found.get("baseline")),
        _view(found.get("view")),
    )


def save(marks: Marks, path: Path) -> str:
    """Write the marks; return why that failed, or nothing.

    The file is replaced as a whole: a crash leaves the old one or the new one.
    """
    body = {
        "schema": 1,
        "acknowledged": sorted(([*key] for key in marks.acknowledged), key=repr)[:_MOST],
        "muted": sorted(marks.muted),
        "baseline": marks.baseline,
        "view": marks.view,
    }
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new.write_text(json.dumps(body, indent=1), "utf-8")
        new.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        return f"not saved: {error.strerror}"
    return ""


def _items(value: object) -> list[object]:
    return cast("list[object]", value)[:_MOST] if isinstance(value, list) else []


def _key(item: object) -> AlertKey | None:
    parts = _items(item)
    if len(parts) != 3:
        return None
    kind, tensor, onset = parts
    if not isinstance(kind, str) or not isinstance(tensor, str | None) or type(onset) is not int:
        return None
    return kind, tensor, onset


def _baseline(value: object) -> tuple[int, int, int] | None:
    numbers = [number for number in _items(value) if type(number) is int]
    return (numbers[0], numbers[1], numbers[2]) if len(numbers) == 3 else None


def _view(value: object) -> dict[str, str | bool]:
    if not isinstance(value, dict):
        return {}
    pairs = cast("dict[str, object]", value)
    return {key: each for key, each in pairs.items() if isinstance(each, str | bool)}
