"""Put a session together from settings: what scan, record, demo and the worker process share."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from forkmon import wire
from forkmon.detect.settings import DEFAULT, from_mapping
from forkmon.detect.settings import Settings as AlertSettings
from forkmon.errors import UsageError
from forkmon.formats.logical_rules import Rule, parse_rules
from forkmon.runs.poll import Poller
from forkmon.stats.roles import DEFAULT_ROLES, parse_roles
from forkmon.store.writer import Writer
from forkmon.worker.devices import Device
from forkmon.worker.outward import Outward, Targets
from forkmon.worker.session import Notify, Session
from forkmon.worker.where import choose_device

if TYPE_CHECKING:
    from forkmon.config import Settings
    from forkmon.engines.protocol import Engine


@dataclass(frozen=True, slots=True)
class Means:
    """What an analysis is done with."""

    interval: float
    settle: float
    threads: int
    device: Device
    read_rate: float = 0.0
    """MB a second at most; 0 for no limit."""
    rules: tuple[Rule, ...] = ()
    """The user's own layouts of fused tensors."""
    roles: frozenset[str] = DEFAULT_ROLES
    """Whose tensors are read: `model`, `ema`, `optimizer`."""
    alerts: AlertSettings = DEFAULT
    """What is an alert."""
    targets: Targets = field(default_factory=Targets)
    """Where alerts are sent to."""


def means_of(
    settings: Settings, *, settle: float | None = None, why: str = ""
) -> tuple[Means, Sequence[str]]:
    """Return what the settings ask for, and warnings about tables that mean nothing.

    `why` replaces the reason of the device, after a GPU was lost.
    """
    layouts = settings.table("layout")
    rules, warnings = parse_rules(layouts, "config file") if layouts is not None else ((), ())
    alerts, problem = alert_settings(settings)
    return Means(
        interval=settings.number("interval"),
        settle=settings.number("settle") if settle is None else settle,
        threads=int(settings.number("threads")),
        device=choose_device(settings.text("device"), why=why),
        read_rate=settings.number("read_rate"),
        rules=tuple(rules),
        roles=parse_roles(settings.text("roles")) or DEFAULT_ROLES,
        alerts=alerts,
        targets=Targets(tuple(shlex.split(settings.text("on_alert"))), settings.text("webhook")),
    ), [*warnings, *problem]


def alert_settings(settings: Settings) -> tuple[AlertSettings, Sequence[str]]:
    """Return the thresholds in force, and what is wrong with the config file's `alerts` table."""
    preset = settings.settings["preset"]
    chosen = {} if preset.origin == "default" else {"preset": preset.value}
    table = settings.table("alerts")
    if isinstance(table, dict):
        try:
            return from_mapping({**cast("dict[str, object]", table), **chosen}), ()
        except UsageError as error:
            return from_mapping(chosen), (f"config file: {error}; its [alerts] are not used",)
    return from_mapping(chosen), ()


def open_session(  # noqa: PLR0913 -- a composition: each of its parts by name
    root: Path,
    writer: Writer,
    means: Means,
    stack: ExitStack,
    *,
    notify: Notify,
    interrupted: Callable[[], None] = lambda: None,
    interval: float | None = None,
) -> Session:
    """Return a session on a run; its engine opens with the first analysis and ends with `stack`."""

    def engine() -> Engine:
        from forkmon.worker.backends import open_engine  # numpy, numba, maybe torch: only now

        return stack.enter_context(open_engine(threads=means.threads, device=means.device))

    def said(text: str) -> None:
        notify(wire.Log(text))

    outward = None
    if means.targets:
        known = writer.reader().alerts()
        outward = Outward(means.targets, str(root.resolve()), said, known=known)
        stack.callback(outward.close)
    looks = means.interval if interval is None else interval
    return Session(
        root,
        writer,
        Poller(root, interval=looks, settle=means.settle, roles=means.roles),
        engine=engine,
        device=means.device,
        notify=notify,
        interrupted=interrupted,
        rules=means.rules,
        read_rate=means.read_rate,
        roles=means.roles,
        alerts=means.alerts,
        outward=outward,
    )
