"""DeepSpeed checkpoints: rank files of modules, layers, experts and ZeRO partitions as one model.

Module weights are the model where they are there; where only placeholders are (ZeRO-3), the fp32
partitions are. What neither holds is named as skipped, with its reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from forkmon.errors import FormatError, IncompleteError, TornError
from forkmon.formats.deepspeed_masters import MASTER, Masters, frozen_of, masters_of
from forkmon.formats.deepspeed_modules import Modules, modules_of, shared_params, universal_of
from forkmon.formats.deepspeed_names import parts_of, recognise
from forkmon.formats.deepspeed_set import RankSet, check, load
from forkmon.formats.deepspeed_tree import inside
from forkmon.formats.megatron_slices import Joined, join_all
from forkmon.formats.proof import Damaged, Partial, Proof, Whole
from forkmon.formats.refs import Listing, Role, Skipped, TensorRef
from forkmon.runs.refs import CheckpointRef
from forkmon.text import safe

__all__ = ["DeepspeedReader", "prove", "recognise"]

_NO_WEIGHTS = "ZeRO-3 placeholder without elements"
_FROM_MASTER = "put together from ZeRO's fp32 partitions"


class DeepspeedReader:
    """Reads a directory that DeepSpeed saved, of any ZeRO stage."""

    def listing(self, ref: CheckpointRef) -> Listing:
        """Return the model's tensors, then the optimizer's; no tensor's bytes are read."""
        seen = {each.name: each for each in ref.fingerprint.files}
        ranks = load(ref.path, parts_of(seen), seen)
        check(ranks)
        return _listing(ranks)


def prove(directory: Path, files: Sequence[str]) -> Proof:
    """Return whether all ranks' files are there, whole, and of one step."""
    try:
        ranks = load(directory, parts_of(files))
        check(ranks)
    except IncompleteError as error:
        return Partial(f"still being written: {error}", str(error))
    except TornError as error:
        return Partial(f"still being written: {error}", str(error))
    except FormatError as error:
        return Damaged(str(error))
    return Whole(zero_tail=False, step=ranks.step)


@dataclass(slots=True)
class _Found:
    """A listing as it grows."""

    tensors: dict[tuple[Role, str], TensorRef] = field(
        default_factory=dict[tuple[Role, str], TensorRef]
    )
    skipped: dict[str, Skipped] = field(default_factory=dict[str, Skipped])
    notes: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    standing: set[str] = field(default_factory=set[str])
    """Parameters whose fp32 weights of the optimizer stand for the model's."""

    def add(self, joined: Joined, role: Role, suffix: str = "") -> None:
        """Take in tensors under a role, unless an earlier pipeline stage has them."""
        for tensor in joined.tensors:
            named = replace(tensor, name=f"{tensor.name}{suffix}", role=role)
            if (role, named.name) not in self.tensors:
                self.tensors[role, named.name] = named
                self.notes += [(named.name, why) for of, why in joined.notes if of == tensor.name]

    def skip(self, name: str, dtype: str, reason: str, *, is_parameter: bool = True) -> None:
        """Take in what is not analysed, and why."""
        if ("model", name) not in self.tensors:
            self.skipped.setdefault(name, Skipped(name, dtype, reason, is_parameter))


def _listing(ranks: RankSet) -> Listing:
    found = _Found()
    modules = modules_of(ranks)
    masters = {mp: masters_of(ranks, mp) for mp in ranks.mp_ranks}
    for stage in modules.stages:
        _join_into(found, stage, "model", gated=_is_gated(ranks))
    _add_universal(found, ranks, modules)
    _fill_placeholders(found, ranks, modules, masters)
    for skipped in modules.skipped:
        found.skip(skipped.name, skipped.dtype, skipped.reason)
    _add_masters(found, ranks, masters)
    _untie(found, ranks)
    _name_optimizer(found, ranks, masters)
    return Listing(
        tuple(found.tensors.values()),
        tuple(found.skipped.values()),
        _metadata(ranks),
        tuple(found.notes),
    )


def _join_into(
    found: _Found,
    stage: Sequence[Mapping[str, TensorRef]],
    role: Role,
    suffix: str = "",
    *,
    gated: bool = False,
) -> None:
    joined, lacking = join_all(stage, gated=gated)
    for each in joined.values():
        found.add(each, role, suffix)
    for name in lacking:
        if role == "model":
            found.skip(name, "", f"only some of {len(stage)} tensor-parallel ranks hold it")


def _fill_placeholders(
    found: _Found, ranks: RankSet, modules: Modules, masters: Mapping[int, Masters]
) -> None:
    """Put fp32 weights, or frozen ones, in place of parameters that the module lacks."""
    for stage in _stages(ranks):
        joined, _ = join_all(
            [_instead(ranks, modules, mp, masters[mp]) for mp in stage], gated=_is_gated(ranks)
        )
        for name, each in joined.items():
            found.add(each, "model")
            if each.tensors[0].role == "optimizer":
                found.standing.add(name)
                found.notes.append((name, _FROM_MASTER))
        for mp in stage:
            for name, dtype in modules.placeholders.get(mp, {}).items():
                reason = masters[mp].problems.get(name, "its partitions are not all there")
                if name not in joined:
                    found.skip(name, dtype, f"{_NO_WEIGHTS}: {reason}")


def _instead(ranks: RankSet, modules: Modules, mp: int, masters: Masters) -> dict[str, TensorRef]:
    """Return what stands in for a rank's placeholders."""
    missing = modules.placeholders.get(mp, {})
    if not missing:
        return {}
    instead = dict(masters.states.get(MASTER, {}))
    try:
        instead |= {tensor.name: tensor for tensor in frozen_of(ranks, mp)}
    except (FormatError, IncompleteError) as error:
        masters.problems |= dict.fromkeys(missing, str(error))
    return {name: instead[name] for name in missing if name in instead}


def _add_universal(found: _Found, ranks: RankSet, modules: Modules) -> None:
    """Add the tensors of a universal checkpoint, whose ranks are joined already."""
    states = universal_of(ranks)
    named = {name for names in modules.placeholders.values() for name in names}
    for name, tensor in states.get(MASTER, {}).items():
        if name in named or not ranks.mp_ranks:
            found.add(Joined((tensor,)), "model")
            found.standing.add(name)
    for state, tensors in states.items():
        _join_into(found, [_not_standing(found, state, tensors)], "optimizer", f".{state}")


def _add_masters(found: _Found, ranks: RankSet, masters: Mapping[int, Masters]) -> None:
    """Add the optimizer's tensors; its weights too, unless they stand for the model's."""
    for stage in _stages(ranks):
        states = dict.fromkeys(state for mp in stage for state in masters[mp].states)
        for state in states:
            held = [_not_standing(found, state, masters[mp].states.get(state, {})) for mp in stage]
            named = [_layered(ranks, tensors) for tensors in held]
            _join_into(found, named, "optimizer", f".{state}", gated=_is_gated(ranks))


def _not_standing(
    found: _Found, state: str, tensors: Mapping[str, TensorRef]
) -> Mapping[str, TensorRef]:
    if state != MASTER:
        return tensors
    return {name: tensor for name, tensor in tensors.items() if name not in found.standing}


def _layered(ranks: RankSet, tensors: Mapping[str, TensorRef]) -> Mapping[str, TensorRef]:
    """Return a pipeline's parameters under the names that its layer files give them."""
    if not ranks.is_pipeline:
        return tensors
    return {
        name: replace(tensor, name=name, stored_as=tensor.name)
        for old, tensor in tensors.items()
        if (name := f"layers.{old}" if old[:1].isdecimal() else old)
    }


def _stages(ranks: RankSet) -> list[list[int]]:
    """Return the model-parallel ranks of each pipeline stage, by tensor-parallel rank."""
    tp = ranks.tensor_parallel
    by_stage: dict[int, list[int]] = {}
    for mp in ranks.mp_ranks:
        by_stage.setdefault(mp // tp, []).append(mp)
    return [by_stage[stage] for stage in sorted(by_stage)]


def _untie(found: _Found, ranks: RankSet) -> None:
    """Name the parameters that are others under a second name, and do not show them twice."""
    for alias, name in shared_params(ranks).items():
        if ("model", name) in found.tensors:
            found.tensors.pop(("model", alias), None)
            found.skipped[alias] = Skipped(alias, "", f"tied to {safe(name)}", is_parameter=False)


def _name_optimizer(found: _Found, ranks: RankSet, masters: Mapping[int, Masters]) -> None:
    """Say what of the optimizer is not shown: without ZeRO its states have numbers only."""
    states = ranks.of("states")
    if states and inside(states[0].file.root, "optimizer") is not None:
        reason = "the optimizer's states are numbered, not named; not shown"
        found.skip("optimizer", "", reason, is_parameter=False)
    problems = [reason for each in masters.values() for reason in each.problems.values()]
    if problems and ranks.of("optim"):
        found.skip("optimizer", "", problems[0], is_parameter=False)


def _is_gated(ranks: RankSet) -> bool:
    states = ranks.of("states")
    return bool(states) and inside(states[0].file.root, "args", "swiglu") is True


def _metadata(ranks: RankSet) -> tuple[tuple[str, str], ...]:
    states = ranks.of("states")
    version = inside(states[0].file.root, "ds_version") if states else None
    step = ranks.step
    found = [] if step is None else [("step", str(step))]
    if isinstance(version, str):
        found.append(("ds_version", str(safe(version))))
    return tuple(found)
