"""The optimizer's copies of the parameters: fp32 weights and moments, put together by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from forkmon.errors import FormatError, IncompleteError
from forkmon.formats.deepspeed_flat import Shapes, one_vector, part_of_each
from forkmon.formats.deepspeed_set import Ranked, RankSet
from forkmon.formats.deepspeed_tree import RankFile, count, inside, row, shape_of, table
from forkmon.formats.refs import TensorRef
from forkmon.text import safe

MASTER = "fp32"
"""Name of the fp32 copy of the weights, as in a universal checkpoint."""
_STATES_CAP = 8
_NAME_CAP = 512
_PARAMETERS_CAP = 1 << 20


@dataclass(slots=True)
class Masters:
    """What the optimizer holds of one model-parallel rank's parameters."""

    states: dict[str, dict[str, TensorRef]] = field(default_factory=dict[str, dict[str, TensorRef]])
    """State (`fp32`, `exp_avg`, …) to parameter to tensor."""
    problems: dict[str, str] = field(default_factory=dict[str, str])
    """Parameter to why its flat partitions were not put together."""


def masters_of(ranks: RankSet, mp: int) -> Masters:
    """Return what the flat partitions of a model-parallel rank are; problems instead of errors."""
    found = Masters()
    states, optim = ranks.of("states", mp), ranks.of("optim", mp)
    groups = param_shapes(states[0]) if states else []
    if not optim:
        reason = "its fp32 partitions are not in the checkpoint"
        found.problems = {name: reason for group in groups for name in group}
        return found
    try:
        if inside(optim[0].file.root, "optimizer_state_dict", "fp32_flat_groups") is not None:
            _split(found, groups, optim)
        else:
            _grouped(found, groups, optim)
    except (FormatError, IncompleteError) as error:
        found.problems |= {name: str(error) for group in groups for name in group}
    return found


def param_shapes(states: Ranked) -> list[dict[str, tuple[int, ...]]]:
    """Return the shapes of the parameters of each group, in their order in the vectors."""
    what = safe(states.file.path.name)
    groups = [
        {_name(name): shape_of(shape, what) for name, shape in table(group).items()}
        for group in row(inside(states.file.root, "param_shapes"))
    ]
    if sum(map(len, groups)) > _PARAMETERS_CAP:
        raise FormatError(f"{what}: more than {_PARAMETERS_CAP:,} parameters")
    return groups


def frozen_of(ranks: RankSet, mp: int) -> Iterator[TensorRef]:
    """Yield the parameters without an optimizer, which lie in parts in the states files."""
    states = ranks.of("states", mp)
    if not states:
        return
    shapes = table(inside(states[0].file.root, "frozen_param_shapes"))
    for key, value in shapes.items():
        name = _name(key)
        parts = [
            each.file.vector(inside(each.file.root, "frozen_param_fragments", key))
            for each in states
        ]
        held = [part for part in parts if part is not None]
        if len(held) == len(states) and _alike(held):
            shape = {name: shape_of(value, safe(name))}
            yield from part_of_each(shape, [[part] for part in held], "model")


def _split(found: Masters, groups: Sequence[Shapes], optim: Sequence[Ranked]) -> None:
    """ZeRO-3: the vectors of all sub-groups together are one vector a rank."""
    shapes = {name: shape for group in groups for name, shape in group.items()}
    _check_world(optim, inside(optim[0].file.root, "optimizer_state_dict", "partition_count"))
    paths = ("optimizer_state_dict", "fp32_flat_groups"), ("optimizer_state_dict",) * 2
    flat = [_vectors(each.file, row(inside(each.file.root, *paths[0]))) for each in optim]
    found.states[MASTER] = _named(part_of_each(shapes, _same(flat, optim), "optimizer"))
    numbered = [table(inside(each.file.root, *paths[1], "state")) for each in optim]
    for state in _state_names(optim[0].file, numbered[0].get(0)):
        moments = [
            _vectors(each.file, [inside(by_group, index, state) for index in range(len(own))])
            for each, by_group, own in zip(optim, numbered, flat, strict=True)
        ]
        found.states[state] = _named(part_of_each(shapes, _same(moments, optim), "optimizer"))


def _grouped(found: Masters, groups: Sequence[Shapes], optim: Sequence[Ranked]) -> None:
    """ZeRO-1 and 2: each group's vector is cut among the ranks."""
    counts = inside(optim[0].file.root, "optimizer_state_dict", "partition_count")
    for index, shapes in enumerate(groups):
        try:
            own = row(counts)[index] if row(counts) else counts
            _check_world(optim, own)
            for state, tensors in _group(index, shapes, optim):
                found.states.setdefault(state, {}).update(tensors)
        except (FormatError, IncompleteError, IndexError) as error:
            reason = str(error) or "its group has no flat partition"
            found.problems |= dict.fromkeys(shapes, reason)


def _group(
    index: int, shapes: Shapes, optim: Sequence[Ranked]
) -> Iterator[tuple[str, dict[str, TensorRef]]]:
    """Yield state name and its tensors of one group, the fp32 weights first."""
    roots = [inside(each.file.root, "optimizer_state_dict") for each in optim]
    paddings = [
        count(each) or 0 for each in row(_at(inside(roots[0], "param_alignment_paddings"), index))
    ]
    flat = [_at(inside(root, "single_partition_of_fp32_groups"), index) for root in roots]
    yield MASTER, _one(shapes, paddings, optim, flat)
    states = [_base_state(root, index) for root in roots]
    for name in _state_names(optim[0].file, states[0]):
        moments = [inside(state, name) for state in states]
        yield name, _one(shapes, paddings, optim, moments)


def _one(
    shapes: Shapes, paddings: Sequence[int], optim: Sequence[Ranked], values: Sequence[object]
) -> dict[str, TensorRef]:
    vectors = [
        vector
        for each, value in zip(optim, values, strict=True)
        for vector in _vectors(each.file, [value])
    ]
    if not _alike(vectors):
        raise FormatError("the flat partitions of its ranks are of different types")
    return _named(one_vector(shapes, paddings, vectors, "optimizer"))


def _base_state(root: object, index: int) -> object:
    """Return the state of a group: by number in a state_dict, in order if made elastic."""
    base = inside(root, "base_optimizer_state")
    if row(base):
        return _at(base, index)
    return inside(base, "state", index)


def _at(values: object, index: int) -> object:
    found = row(values)
    return found[index] if index < len(found) else None


def _state_names(file: RankFile, state: object) -> list[str]:
    """Return the names of the states that are vectors: a step count is none."""
    found = [
        name
        for name, value in table(state).items()
        if isinstance(name, str) and name.isidentifier() and file.vector(value) is not None
    ]
    return [name for name in found if name != MASTER and len(name) <= 64][:_STATES_CAP]


def _vectors(file: RankFile, values: Sequence[object]) -> list[TensorRef]:
    vectors = [file.vector(value) for value in values]
    held = [vector for vector in vectors if vector is not None]
    if len(held) < len(vectors) or not vectors:
        raise FormatError(f"{safe(file.path.name)}: no flat partition of it (offloaded?)")
    return held


def _same(ranks: list[list[TensorRef]], optim: Sequence[Ranked]) -> list[list[TensorRef]]:
    if not _alike([vector for rank in ranks for vector in rank]):
        name = safe(optim[0].file.path.name)
        raise FormatError(f"{name}: the flat partitions of its ranks are of different types")
    return ranks


def _alike(vectors: Sequence[TensorRef]) -> bool:
    return len({vector.dtype for vector in vectors}) == 1


def _check_world(optim: Sequence[Ranked], partitions: object) -> None:
    wanted = count(partitions)
    if wanted is not None and wanted != len(optim):
        raise FormatError(
            f"cut among {wanted:,} of the {len(optim):,} ranks: experts or sub-groups of ranks, "
            "whose partitions are not put together"
        )


def _named(tensors: Iterator[TensorRef]) -> dict[str, TensorRef]:
    return {tensor.name: tensor for tensor in tensors}


def _name(key: object) -> str:
    if not isinstance(key, str) or len(key) > _NAME_CAP:
        raise FormatError(f"{safe(key, 80)!r} is no parameter's name")
    return key
