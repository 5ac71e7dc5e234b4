"""Feed every fuzz target damaged real files, for a number of inputs or of seconds; resumable.

Run by hand: python tests/bench/fuzz.py [--inputs N] [--seconds S] [--only TEXT] [--state FILE]
Each target gets its turn of half a second until both budgets of it are spent: `--inputs` over all
targets together, `--each` for every one of them. A state file takes what was done so far, so that
the next call goes on with other inputs. What fails, takes more than two seconds of processor time
or 300 MB more memory than before is kept in a file, and the exit code is 1.

`--atheris NAME` hands one target to atheris (a coverage-guided fuzzer, where it is installed)
instead; what follows `--` goes to libFuzzer, for example `-- -max_total_time=60`.
"""
# ruff: noqa: T201 -- a script prints

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final, cast

TESTS: Final = Path(__file__).resolve().parent.parent
MODULES: Final = {
    "torch": "formats.fuzz_targets_torch",
    "dcp": "formats.fuzz_targets_dcp",
    "ranks": "formats.fuzz_targets_ranks",
    "metrics": "runs.fuzz_targets_metrics",
    "hostile": "formats.hostile_targets",
}
TURN_SECONDS: Final = 0.5
SLOW_SECONDS: Final = 2.0
LARGE_KB: Final = 300 << 10
HANG_SECONDS: Final = 30
KEPT_FAILURES: Final = 20
"""Inputs kept of one target; further ones are only counted."""

Target = Callable[[bytes], object]


@dataclass(slots=True)
class Score:
    """What one target has been through."""

    inputs: int = 0
    seconds: float = 0.0
    """Of processor time."""
    slowest: float = 0.0
    slowest_input: str = ""
    """The first bytes of its hash; found again in the directory of findings where it failed."""
    failures: int = 0
    kept: list[str] = field(default_factory=list[str])


class HangError(Exception):
    """An input that did not end."""


def main() -> int:
    """Run the campaign and print its figures; exit 1 where anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=0, metavar="N", help="in all, at least")
    parser.add_argument("--each", type=int, default=0, metavar="N", help="for every target")
    parser.add_argument("--seconds", type=float, default=float("inf"), metavar="S")
    parser.add_argument("--only", default="", metavar="TEXT", help="in the target's name")
    parser.add_argument("--state", type=Path, metavar="FILE", help="JSON; read and written")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"), metavar="DIR")
    parser.add_argument("--atheris", default="", metavar="NAME")
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path[:0] = [str(TESTS), str(TESTS.parent)]
    if Path("/dev/shm").is_dir():  # noqa: S108 -- memory, where there is such a place
        tempfile.tempdir = "/dev/shm"  # noqa: S108
    if options.atheris:
        return with_atheris(options.atheris, options.rest)
    targets = {name: target for name, target in all_targets().items() if options.only in name}
    scores = _read_state(options.state)
    campaign = Campaign(targets, scores, options.findings)
    campaign.run(options.inputs, options.each, options.seconds, options.state)
    print(table(campaign.scores))
    return int(any(score.failures for score in campaign.scores.values()))


def all_targets() -> dict[str, Target]:
    """Return every fuzz target by `file.function`."""
    found: dict[str, Target] = {}
    for short, module in MODULES.items():
        targets: object = importlib.import_module(module).TARGETS
        each = targets.values() if isinstance(targets, Mapping) else targets
        for target in cast("Iterable[Target]", each):
            found[f"{short}.{getattr(target, '__name__', '')}"] = target
    return found


def seeds_of(name: str) -> tuple[bytes, ...]:
    """Return the real inputs of a target."""
    return tuple(importlib.import_module("formats.hostile_seeds").seeds_of(name))


class Campaign:
    """The targets, their scores, and what was found."""

    def __init__(
        self, targets: Mapping[str, Target], scores: dict[str, Score], findings: Path
    ) -> None:
        self.targets = targets
        self.scores = scores
        self.findings = findings
        for name in targets:
            scores.setdefault(name, Score())

    def run(self, inputs: int, each: int, seconds: float, state: Path | None) -> None:
        """Take turns until there were so many inputs, or the seconds are over."""
        deadline = time.monotonic() + seconds
        signal.signal(signal.SIGALRM, _hang)
        while time.monotonic() < deadline:
            wanted = [name for name in self.targets if self.scores[name].inputs < each]
            total = sum(self.scores[name].inputs for name in self.targets)
            if total < inputs or (not inputs and not each):
                wanted = list(self.targets)
            if not wanted:
                break
            for name in wanted:
                if time.monotonic() < deadline:
                    self.turn(name, min(deadline, time.monotonic() + TURN_SECONDS))
            _write_state(state, self.scores)

    def turn(self, name: str, until: float) -> None:
        """Feed one target for a while."""
        mutations = importlib.import_module("formats.hostile_mutations")
        score, target = self.scores[name], self.targets[name]
        seeds = seeds_of(name)
        while time.monotonic() < until:
            # Each input follows from its number, so that a campaign can go on where it was.
            rng = random.Random(f"{name} {score.inputs}")
            raw = (
                seeds[score.inputs] if score.inputs < len(seeds) else mutations.mutated(rng, seeds)
            )
            score.inputs += 1
            self.feed(name, score, target, raw)

    def feed(self, name: str, score: Score, target: Target, raw: bytes) -> None:
        """Give a target one input and write down how it took it."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun = time.process_time()
        signal.alarm(HANG_SECONDS)
        said = ""
        try:
            target(raw)
        except KeyboardInterrupt:
            raise
        except BaseException:  # noqa: BLE001 -- this is what it looks for
            said = traceback.format_exc()
        finally:
            signal.alarm(0)
        spent = time.process_time() - begun
        score.seconds += spent
        more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
        if spent > score.slowest:
            score.slowest, score.slowest_input = spent, _digest(raw)
        if spent > SLOW_SECONDS:
            said = said or f"took {spent:.1f} s of processor time"
        if more > LARGE_KB:
            said = said or f"took {more >> 10:,} MB"
        if said:
            self._keep(name, score, raw, said)

    def _keep(self, name: str, score: Score, raw: bytes, said: str) -> None:
        score.failures += 1
        if score.failures > KEPT_FAILURES:
            return
        self.findings.mkdir(parents=True, exist_ok=True)
        path = self.findings / f"{name}-{_digest(raw)}"
        path.write_bytes(raw)
        path.with_name(path.name + ".txt").write_text(said, "utf-8", "backslashreplace")
        score.kept.append(path.name)
        print(f"{name}: {said.strip().splitlines()[-1][:200]} ({path})", flush=True)


def table(scores: Mapping[str, Score]) -> str:
    """Return the figures, a target a line."""
    lines = [f"{'target':28} {'inputs':>11} {'per s':>8} {'slowest ms':>11} {'failed':>7}"]
    for name, score in sorted(scores.items()):
        rate = score.inputs / score.seconds if score.seconds else 0.0
        lines.append(f"{name:28} {score.inputs:11,} {rate:8,.0f} {score.slowest * 1e3:11,.1f} "
                     f"{score.failures:7,}")  # fmt: skip
    total = sum(score.inputs for score in scores.values())
    spent = sum(score.seconds for score in scores.values())
    failed = sum(score.failures for score in scores.values())
    lines.append(f"{'all':28} {total:11,} {total / spent if spent else 0:8,.0f} "
                 f"{'':11} {failed:7,}")  # fmt: skip
    return "\n".join(lines)


def with_atheris(name: str, rest: list[str]) -> int:
    """Hand a target to atheris, which instruments what it imports; does not return."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["forkmon"]):
        target = all_targets()[name]
    corpus = Path(tempfile.mkdtemp(prefix="forkmon-corpus-"))
    for number, seed in enumerate(seeds_of(name)):
        (corpus / str(number)).write_bytes(seed)
    atheris.Setup([sys.argv[0], *rest, str(corpus)], target)
    atheris.Fuzz()
    return 0


def _hang(number: int, frame: FrameType | None) -> None:
    raise HangError(f"more than {HANG_SECONDS} s")


def _digest(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=6).hexdigest()


def _read_state(path: Path | None) -> dict[str, Score]:
    if path is None or not path.exists():
        return {}
    return {name: Score(**score) for name, score in json.loads(path.read_text("utf-8")).items()}


def _write_state(path: Path | None, scores: Mapping[str, Score]) -> None:
    if path is not None:
        part = path.with_name(path.name + ".part")
        text = json.dumps({name: asdict(score) for name, score in scores.items()}, indent=1)
        part.write_text(text, "utf-8")
        part.replace(path)


if __name__ == "__main__":
    sys.exit(main())
