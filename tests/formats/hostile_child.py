"""A process of its own that goes through hostile runs under an audit hook, and says what it saw.

`python hostile_child.py read|scan|bad DIRECTORY [TEXT…]`: make each run of the corpus (whose name
holds one of the texts), then find, list and read it (`read`), or `forkmon scan` it (`scan`), or
read it as nobody should (`bad`). A line of JSON a run on stdout: what the hook objected to, the
error if one escaped, how many tensors were read, processor seconds and MB of memory.
"""
# ruff: noqa: T201 -- a script prints

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import pickle  # noqa: TID251 -- the bad reader, which the hook must catch
import pkgutil
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

TESTS: Final = Path(__file__).resolve().parent.parent
KB: Final = 1024
CPU_SECONDS: Final = 300
MEMORY_MB: Final = 1500
"""Beyond what the process maps when it begins; a case has a stricter limit in the test."""

READ_ANYWHERE: Final = (
    "/proc/self/mountinfo", "/proc/self/status", "/proc/self/cgroup", "/proc/meminfo",
    "/sys/fs/cgroup", "/proc/sys/kernel/random/boot_id", "/proc/mounts", "/etc/localtime",
    "/dev/null", "/dev/urandom", "/sys/devices/system/cpu",
)  # fmt: skip
"""What forkmon itself reads outside of runs: limits, mounts, the boot's identity, the time zone."""

NEVER: Final = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty", "os.startfile",
    "subprocess.", "pty.", "socket.", "ctypes.", "pickle.", "marshal.dump", "webbrowser.",
    "urllib.", "ftplib.", "smtplib.", "shutil.", "mmap.", "os.remove", "os.rename", "os.rmdir",
    "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate", "os.utime",
    "os.kill", "os.putenv", "os.chdir", "code.__new__", "cpython.run_", "builtins.input",
    "setopencodehook", "sys.settrace", "sys.setprofile", "tempfile.",
)  # fmt: skip
"""Events that reading a checkpoint never causes, by what they begin with."""

NO_MODULES: Final = frozenset({
    "hostile_decoy", "antigravity", "webbrowser", "runpy", "timeit", "code", "pty", "pip", "torch",
    "numpy.testing", "pdb", "shutil_decoy",
})  # fmt: skip


@dataclass(slots=True)
class Told:
    """What became of one run."""

    case: str
    events: list[str] = field(default_factory=list[str])
    error: str = ""
    read: int = 0
    seconds: float = 0.0
    megabytes: int = 0


class BlockedError(Exception):
    """What the hook raises, so that nothing happens that it objects to."""


class Hook:
    """Objects to all that a reader of weights has no business with."""

    def __init__(self, *, lenient: bool) -> None:
        """Begin to listen; `lenient` lets names be looked up, to see what comes after."""
        self.lenient = lenient
        self.told: Told | None = None
        self.run = Path()
        """The real directory of the run, as the user named it."""
        self.beside: tuple[Path, ...] = ()
        """What else belongs to it: the blobs and references of a model cache."""
        own = {sys.prefix, sys.base_prefix, *sys.path, str(TESTS.parent / "forkmon")}
        own |= {
            value for key, value in os.environ.items() if key.startswith(("XDG_", "NUMBA_CACHE"))
        }
        self.own = tuple(os.path.realpath(path) for path in own if path)
        sys.addaudithook(self)

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        """Take an event of the interpreter's."""
        told = self.told
        if told is None:
            return
        self.told = None  # what this does itself is none of its business
        try:
            why = self.objection(event, args)
        finally:
            self.told = told
        if why:
            told.events.append(why)
            raise BlockedError(why)

    def objection(self, event: str, args: tuple[object, ...]) -> str:
        """Return what is wrong with an event, nothing for most."""
        if event in ("open", "os.listdir", "os.scandir"):
            return self._of_path(event, args)
        if event == "import":
            name = str(args[0])
            forbidden = any(name == each or name.startswith(each + ".") for each in NO_MODULES)
            return f"import {name}" if forbidden else ""
        if event in ("exec", "compile"):
            told = getattr(args[0], "co_filename", "?") if event == "exec" else args[1]
            is_module = str(told).startswith(("<frozen ", *self.own))  # an import that was put off
            return "" if is_module else f"{event} of {told} {args[0]!r:.200}"
        if event == "sqlite3.connect":
            return "" if args[0] == ":memory:" else f"sqlite3.connect {args[0]}"
        if event == "pickle.find_class" and self.lenient:
            return ""
        if event.startswith(NEVER):
            return f"{event} {args!r:.200}"
        return ""

    def _of_path(self, event: str, args: tuple[object, ...]) -> str:
        path = args[0]
        if isinstance(path, int) or path is None:
            return ""
        name = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)
        flags = args[2] if event == "open" and len(args) > 2 and isinstance(args[2], int) else 0
        real = _real(name, follow=not flags & os.O_NOFOLLOW)
        real = real.replace(f"/proc/{os.getpid()}/", "/proc/self/")
        if event == "open" and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return f"{event} to write {name}"
        if _is_below(real, (str(self.run), *map(str, self.beside), *self.own, *READ_ANYWHERE)):
            return ""
        return f"{event} {name}"


def _real(name: str, *, follow: bool) -> str:
    """Return where a path leads; the last part of one that is not to be followed stays."""
    if follow or "\0" in name:
        return os.path.realpath(name.partition("\0")[0])
    whole = Path(name)
    return str(Path(os.path.realpath(whole.parent)) / whole.name)


def _is_below(real: str, places: tuple[str, ...]) -> bool:
    return any(real == place or real.startswith(place.rstrip("/") + "/") for place in places)


def find_and_read(root: Path) -> int:
    """Find, list and read what is in a run; return how many tensors were read."""
    targets = importlib.import_module("formats.hostile_targets")
    return int(targets.read_all(targets.look(root)))


def scan(root: Path) -> int:
    """Scan a run as the command does; return how many tensors are in its answer."""
    from forkmon.cli import main

    out, said = io.StringIO(), io.StringIO()
    flags = ("--json", "--no-store", "--settle", "0.1", "--device", "cpu", "--threads", "1")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = main(["scan", str(root), *flags])
    assert code in (0, 1, 2), code
    assert "Traceback" not in said.getvalue(), said.getvalue()[-2000:]
    found = json.loads(out.getvalue() or '{"checkpoints": []}')
    return sum(len(checkpoint["tensors"]) for checkpoint in found["checkpoints"])


def read_badly(root: Path) -> int:
    """Unpickle whatever is there, as careless readers do."""
    for path in sorted(root.rglob("*")):
        if not path.is_file():
            continue
        with contextlib.suppress(Exception):
            raw = path.read_bytes()
            _Careless(io.BytesIO(raw[raw.index(b"\x80\x02") :])).load()
    return 0


class _Careless(pickle.Unpickler):
    """Imports and calls whatever is named, but for torch's own names: they would take seconds."""

    def persistent_load(self, pid: object) -> object:
        return pid

    def find_class(self, module_name: str, global_name: str) -> object:
        if module_name.startswith("torch._") or global_name.endswith("Storage"):
            return lambda *_: None
        return super().find_class(module_name, global_name)


def measured(hook: Hook, case: str, root: Path, act: Callable[[Path], int]) -> Told:
    """Do something with a run under the hook."""
    told = Told(case)
    hook.run = Path(os.path.realpath(root))
    cache = hook.run.parent
    hook.beside = (cache / "blobs", cache / "refs") if hook.run.name == "snapshots" else ()
    Path("/proc/self/clear_refs").write_text("5")  # the highest size is measured anew
    before, begun = _status("VmRSS"), time.process_time()
    hook.told = told
    try:
        told.read = act(root)
    except BaseException as error:  # noqa: BLE001 -- this is what it looks for
        told.error = f"{type(error).__name__}: {error}"[:300]
    finally:
        hook.told = None
    told.seconds = time.process_time() - begun
    told.megabytes = (_status("VmHWM") - before) // KB
    return told


def _status(key: str) -> int:
    with Path("/proc/self/status").open() as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(key))


def main() -> None:
    """Go through the corpus."""
    act = {"read": find_and_read, "scan": scan, "bad": read_badly}[sys.argv[1]]
    base, wanted = Path(sys.argv[2]), sys.argv[3:]
    sys.path[:0] = [str(TESTS), str(TESTS.parent)]
    (base / "decoys").mkdir(parents=True)
    (base / "decoys/hostile_decoy.py").write_text("open('PROOF', 'w').close()\n")
    sys.path.append(str(base / "decoys"))
    os.chdir(base)

    hostile_corpus = importlib.import_module("formats.hostile_corpus")
    import forkmon.formats
    import forkmon.runs

    for package in (forkmon.formats, forkmon.runs):
        for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    good = base / "good"
    hostile_corpus.put(good / "step_1.safetensors", hostile_corpus.good_safetensors())
    (scan if act is scan else find_and_read)(good)  # what is imported and compiled once, is now
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    memory = (_status("VmSize") + MEMORY_MB * KB) * KB
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    hook = Hook(lenient=act is read_badly)
    for case, make in hostile_corpus.cases().items():
        if wanted and not any(text in case for text in wanted):
            continue
        root = base / case.replace("/", "_")
        root.mkdir()
        make(root)
        print(json.dumps(asdict(measured(hook, case, root, act))), flush=True)


if __name__ == "__main__":
    main()
