"""Settings and where each came from: flags over FORKMON_* over the config file over defaults."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import forkmon
from forkmon.errors import UsageError
from forkmon.stats.roles import parse_roles
from forkmon.text import safe

Value = str | float | bool


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: its key in the config file, its default and what it means."""

    name: str
    default: Value
    help: str
    check: Callable[[Value], bool] = lambda _: True


@dataclass(frozen=True, slots=True)
class Setting:
    """A value and where it came from."""

    value: Value
    origin: str


def _splits(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True


def _over_0(value: Value) -> bool:
    return isinstance(value, (int, float)) and value > 0


OPTIONS: tuple[Option, ...] = (
    Option("interval", 2.0, "seconds between two looks at the run directory", _over_0),
    Option("settle", 5.0, "seconds a checkpoint without a completion marker must stay unchanged",
           _over_0),
    Option("threads", 0.0, "threads that count elements; 0 takes what is allowed, four at most"),
    Option("device", "auto", "auto, cpu, cuda or cuda:N",
           lambda v: bool(re.fullmatch(r"auto|cpu|cuda(:\d{1,3})?", str(v)))),
    Option("read_rate", 0.0, "MB read a second at most; 0 for no limit",
           lambda v: isinstance(v, (int, float)) and v >= 0),
    Option("roles", "model,ema", "tensors to read, of model, ema and optimizer, between commas",
           lambda v: parse_roles(str(v)) is not None),
    Option("preset", "default", "how much is alerted: quiet, default or paranoid",
           lambda v: v in ("quiet", "default", "paranoid")),
    Option("on_alert", "", "a command run for new alerts: arguments kind=… severity=…, JSON on "
           "its standard input; split like a shell would, run without one",
           lambda v: _splits(str(v))),
    Option("webhook", "", "an http or https address that new alerts are posted to as JSON",
           lambda v: not v or bool(re.match(r"https?://[^\s/]", str(v)))),
    Option("bell", False, "ring the terminal's bell for new alerts"),
    Option("desktop_note", False, "tell new alerts to terminals that know OSC 9"),
    Option("theme", "dark", "a theme of themes/*.toml or of the user's themes directory"),
    Option("ascii", False, "draw with ASCII characters only"),
    Option("mouse", False, "let the mouse select rows (selecting text then needs shift)"),
)  # fmt: skip


TABLES = ("layout", "alerts", "keys")
"""Tables of the config file whose content others check."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Every setting with its origin."""

    settings: Mapping[str, Setting]
    warnings: tuple[str, ...] = ()
    tables: Mapping[str, object] = field(default_factory=dict[str, object])
    """What of the config file is read by others: `TABLES`."""

    def table(self, name: str) -> object:
        """Return a table of the config file as TOML gave it; None if it is not there."""
        return self.tables.get(name)

    def number(self, name: str) -> float:
        """Return a numeric setting."""
        return float(self.settings[name].value)

    def text(self, name: str) -> str:
        """Return a textual setting."""
        return str(self.settings[name].value)

    def flag(self, name: str) -> bool:
        """Return a boolean setting."""
        return bool(self.settings[name].value)


def load(flags: Mapping[str, Value | None], environment: Mapping[str, str]) -> Settings:
    """Return the settings in force; a bad flag or variable is a UsageError.

    A bad line of the config file is a warning and the default stays, so that a typing mistake
    never keeps a monitor from starting.
    """
    path = config_file(environment)
    table, warnings = _read_file(path)
    from_file = _good(table, path, warnings)
    found: dict[str, Setting] = {}
    for option in OPTIONS:
        setting = Setting(option.default, "default")
        if option.name in from_file:
            setting = Setting(from_file[option.name], f"{path}")
        variable = f"FORKMON_{option.name.upper()}"
        if variable in environment:
            setting = Setting(_parsed(option, environment[variable], variable), variable)
        flag = flags.get(option.name)
        if flag is not None:
            setting = Setting(_checked(option, flag, f"--{option.name}"), f"--{option.name}")
        found[option.name] = setting
    tables = {name: table[name] for name in TABLES if name in table}
    return Settings(found, tuple(warnings), tables)


def config_file(environment: Mapping[str, str]) -> Path:
    """Return the config file's path: $FORKMON_CONFIG, or forkmon/config.toml under XDG."""
    if "FORKMON_CONFIG" in environment:
        return Path(environment["FORKMON_CONFIG"])
    home = environment.get("HOME", str(Path.home()))
    base = environment.get("XDG_CONFIG_HOME") or f"{home}/.config"
    return Path(base) / "forkmon" / "config.toml"


def shipped(name: str) -> Path:
    """Return the directory of files that come with forkmon: `themes` or `sample_runs`.

    In an install they lie inside the package, in a checkout beside it.
    """
    package = Path(forkmon.__file__).resolve().parent
    inside = package / f"_{name}"
    return inside if inside.is_dir() else package.parent / name


def cache_home(environment: Mapping[str, str] = os.environ) -> Path:
    """Return $XDG_CACHE_HOME/forkmon, where compiled kernels live."""
    home = environment.get("HOME", str(Path.home()))
    return Path(environment.get("XDG_CACHE_HOME") or f"{home}/.cache") / "forkmon"


def _read_file(path: Path) -> tuple[dict[str, Value], list[str]]:
    try:
        return tomllib.loads(path.read_text("utf-8")), []
    except FileNotFoundError:
        return {}, []
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        return {}, [f"{safe(path)}: {safe(error)}; its settings are not used"]


def _good(table: Mapping[str, Value], path: Path, warnings: list[str]) -> dict[str, Value]:
    """Return the settings of the file that fit; add a warning for each other."""
    good: dict[str, Value] = {}
    options = {option.name: option for option in OPTIONS}
    for name, value in table.items():
        option = options.get(name)
        if name in TABLES:
            continue
        if option is None:
            warnings.append(f"{safe(path)}: unknown setting {safe(name)}")
        elif _fits(option, value):
            good[name] = value
        else:
            warnings.append(f"{safe(path)}: {safe(name)} = {safe(value)} is not {option.help}")
    return good


def _fits(option: Option, value: Value) -> bool:
    if isinstance(option.default, bool):
        return isinstance(value, bool)
    if isinstance(option.default, float):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return is_number and option.check(value)
    return isinstance(value, str) and option.check(value)


def _parsed(option: Option, text: str, origin: str) -> Value:
    value: Value = text
    if isinstance(option.default, bool):
        if text.lower() not in ("0", "1", "true", "false"):
            raise UsageError(f"{origin}={safe(text)}: use 1 or 0 ({option.help})")
        value = text.lower() in ("1", "true")
    elif isinstance(option.default, float):
        try:
            value = float(text)
        except ValueError:
            raise UsageError(f"{origin}={safe(text)}: a number is needed ({option.help})") from None
    return _checked(option, value, origin)


def _checked(option: Option, value: Value, origin: str) -> Value:
    if not _fits(option, value):
        raise UsageError(f"{origin} {safe(value)}: not possible ({option.help})")
    return value
