"""How often alerts are false, how many forks they find and how soon, against other methods.

Run by hand: python tests/bench/evaluate.py --out results.jsonl [--runs 1000] [--n 2048 ...]
Results are appended to the file, one line a run; started again, it goes on where it stopped. At
the end (and with --table alone) the figures are printed as Markdown.
"""
# ruff: noqa: T201 -- a script prints

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import evaluate_foreign as foreign
import evaluate_lives as lives
import evaluate_table as table
import evaluate_worlds as worlds
import numpy as np

from forkmon.detect.settings import PRESETS

TENSORS, CHECKPOINTS = 300, worlds.LONG
"""Of the healthy run that the promise is about."""

HEALTHY = "healthy run"

ROUNDED = {"norm gains": ("bf16", "f16"), "root growth": ("f32", "bf16")}
"""Worlds whose rounding matters; the others are single precision."""

SIZES = {"50/50 to 4 sd": (512, 2048), "5/95 to 6 sd": (2048, 4096), "pitchfork": (2048,)}

Key = tuple[str, int, str, str, int]
"""World, elements, type, preset, seed."""


def main() -> int:
    """Run what is missing, then print the table."""
    options = _arguments()
    done = set(map(_key, table.load(options.out)))
    deadline = time.monotonic() + options.seconds
    with options.out.open("a", encoding="utf-8") as out:
        for key in _wanted(options):
            if options.table or time.monotonic() > deadline:
                break
            if key in done:
                continue
            out.write(json.dumps(_record(key, options.others)) + "\n")
            out.flush()
    print("\n".join(table.lines(table.load(options.out))))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="JSONL file to append to")
    parser.add_argument("--runs", type=int, default=1000, help="of each null")
    parser.add_argument("--forks", type=int, default=300, help="of each fork and event")
    parser.add_argument("--healthy", type=int, default=60, help=f"runs of {TENSORS} tensors")
    parser.add_argument("--others", type=int, default=100, help="runs that other methods see")
    parser.add_argument("--n", type=int, nargs="*", default=[2048], help="elements")
    parser.add_argument("--preset", choices=list(PRESETS), default="default")
    parser.add_argument("--worlds", nargs="*", default=[], help="only these")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="stop after so long")
    parser.add_argument("--table", action="store_true", help="run nothing, print the table")
    return parser.parse_args()


def _wanted(options: argparse.Namespace) -> Iterator[Key]:
    """Yield every run that is asked for, world after world."""
    for world in [*worlds.ALL, *foreign.CASES, HEALTHY]:
        if options.worlds and world not in options.worlds:
            continue
        if world in foreign.CASES:
            yield from ((world, 0, "f32", options.preset, seed) for seed in range(options.forks))
            continue
        runs = options.runs if world in worlds.NULLS else options.forks
        runs = options.healthy if world == HEALTHY else runs
        sizes = SIZES.get(world, ()) if options.n == [2048] else ()
        for n in sizes or options.n:
            for dtype in ROUNDED.get(world, ("f32",)):
                for seed in range(runs):
                    yield (world, n, dtype, options.preset, seed)


def _key(record: table.Record) -> Key:
    return (
        str(record["world"]), int(record["n"]), str(record["dtype"]), str(record["preset"]),
        int(record["seed"]),
    )  # fmt: skip


def _random(key: Key) -> np.random.Generator:
    return np.random.default_rng(list(sha256(repr(key).encode()).digest()))


def _record(key: Key, others: int) -> table.Record:
    """Return what comes of one run."""
    world, n, dtype, preset, seed = key
    begin = time.perf_counter()
    base: table.Record = {
        "world": world, "n": n, "dtype": dtype, "preset": preset, "seed": seed,
    }  # fmt: skip
    rng = _random((world, n, dtype, "", seed))  # presets see the same lives
    if world in foreign.CASES:
        told, others_told = foreign.run(world, rng)
        base |= {"told": told, "others": others_told}
    elif world == HEALTHY:
        base |= _healthy(rng, n, preset)
    else:
        base |= _single(key, rng, seed < others)
    return base | {"seconds": round(time.perf_counter() - begin, 3)}


def _single(key: Key, rng: np.random.Generator, compared: bool) -> table.Record:
    world, n, dtype, preset, _ = key
    life = worlds.ALL[world](rng, n)
    series = lives.series_of(life, dtype)
    alerts = lives.said([series], PRESETS[preset])
    out: table.Record = {
        "kind": life.kind,
        "truth": life.truth,
        "early": life.early,
        "steps": len(life.steps),
        "alerts": [[s.kind, s.onset, s.at] for s in alerts],
        "log_delays": [_log_delay(life, s.at) for s in alerts],
    }
    if compared:
        seen = [m for m in series.modality["elements"] if m is not None]
        rows = lives.rounded(life.values, dtype)
        scores = {
            "forkmon": [lives.valley(m) for m in seen],
            "dip, dithered": [lives.dithered_dip(m) for m in seen],
        }
        scores |= {name: [score(row) for row in rows] for name, score in lives.OTHERS.items()}
        out["scores"] = {
            name: lives.records(lives.debounced(column)) for name, column in scores.items()
        }
        out["breaks"] = _breaks(series.values["l2"])
    return out


def _log_delay(life: worlds.Life, at: int) -> float | None:
    if life.truth < 0:
        return None
    return round(float(np.log1p(life.steps[at]) - np.log1p(life.steps[life.truth])), 4)


def _breaks(norms: tuple[float | None, ...]) -> dict[str, list[int]]:
    levels = np.log([max(v or 0.0, 1e-30) for v in norms])
    return {"PELT": lives.breaks(levels), "PELT of increments": lives.breaks(np.diff(levels))}


def _healthy(rng: np.random.Generator, n: int, preset: str) -> table.Record:
    """Return the alerts of a run of 300 healthy tensors of mixed kinds, by kind."""
    kinds = (("root growth", "f32"), ("root growth", "bf16"), ("norm gains", "bf16"),
             ("norm gains", "f16"), ("resting", "f32"))  # fmt: skip
    makers = {"root growth": worlds.root_growth, "norm gains": worlds.gain,
              "resting": worlds.resting}  # fmt: skip
    series = [
        lives.series_of(makers[kind](rng, n), dtype, f"h.{i // 10}.{kind.split()[0]}{i % 10}")
        for i in range(TENSORS)
        for kind, dtype in [kinds[i % len(kinds)]]
    ]
    alerts = lives.said(series, PRESETS[preset])
    return {"kind": "", "truth": -1, "steps": CHECKPOINTS,
            "alerts": [[s.kind, s.onset, s.at] for s in alerts]}  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
