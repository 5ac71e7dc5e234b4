"""The weights that DeepSpeed's module, layer and expert files hold themselves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

from forkmon.formats.deepspeed_masters import param_shapes
from forkmon.formats.deepspeed_set import Ranked, RankSet
from forkmon.formats.deepspeed_tree import inside, table, tensors_in
from forkmon.formats.refs import Skipped, TensorRef

_SHARED_CAP = 1 << 16


@dataclass(slots=True)
class Modules:
    """What the files hold of the model itself."""

    stages: list[list[dict[str, TensorRef]]] = field(
        default_factory=list[list[dict[str, TensorRef]]]
    )
    """Of each pipeline stage, each tensor-parallel rank's tensors by name."""
    placeholders: dict[int, dict[str, str]] = field(default_factory=dict[int, dict[str, str]])
    """Of each model-parallel rank, the parameters (and their types) that it only names."""
    skipped: list[Skipped] = field(default_factory=list[Skipped])


def modules_of(ranks: RankSet) -> Modules:
    """Return the weights that the files hold, and the names of those they do not."""
    found = Modules()
    tp = ranks.tensor_parallel
    if ranks.is_pipeline:
        found.stages.append([_layers(found, ranks, rank) for rank in range(tp)])
        return found
    by_stage: dict[int, list[dict[str, TensorRef]]] = {}
    for mp in ranks.mp_ranks:
        states = ranks.of("states", mp)[0]
        tensors = _module(found, states)
        for expert in ranks.of("expert", mp):
            tensors |= _tensors(found, expert, expert.file.root)
        by_stage.setdefault(mp // tp, []).append(tensors)
    found.stages = [by_stage[stage] for stage in sorted(by_stage)]
    return found


def universal_of(ranks: RankSet) -> dict[str, dict[str, TensorRef]]:
    """Return a universal checkpoint's tensors: state to parameter to tensor, ranks joined."""
    found: dict[str, dict[str, TensorRef]] = {}
    told = [group for states in ranks.of("states") for group in param_shapes(states)]
    shapes = {name: shape for group in told for name, shape in group.items()}
    for each in ranks.of("universal"):
        root = each.file.root
        value = inside(root, "param") if table(root) else root
        tensor = each.file.tensor(value, each.part.parameter, "optimizer")
        if isinstance(tensor, TensorRef):
            shape = shapes.get(each.part.parameter)
            if len(tensor.shape) == 1 and tensor.tiled is None and shape is not None:
                # Of ZeRO-3 the converter leaves the parameters flat.
                tensor = replace(tensor, shape=shape) if prod(shape) == tensor.size else tensor
            found.setdefault(each.part.state, {})[each.part.parameter] = tensor
    return found


def shared_params(ranks: RankSet) -> dict[str, str]:
    """Return alias to name of parameters that the module holds under two names."""
    shared = {
        alias: name
        for states in ranks.of("states")
        for alias, name in table(inside(states.file.root, "shared_params")).items()
        if isinstance(alias, str) and isinstance(name, str) and alias != name
    }
    return shared if len(shared) <= _SHARED_CAP else {}


def _layers(found: Modules, ranks: RankSet, tp_rank: int) -> dict[str, TensorRef]:
    """Return the tensors of a tensor-parallel rank's layer files, named by layer."""
    tensors: dict[str, TensorRef] = {}
    for each in ranks.of("layer", tp_rank):
        for name, tensor in _tensors(found, each, each.file.root).items():
            full = f"layers.{each.part.layer}.{name}"
            tensors[full] = replace(tensor, name=full, stored_as=name)
    # The poller gives files in name order, which is not the order of the layers beyond 99.
    return dict(sorted(tensors.items(), key=lambda item: int(item[0].split(".")[1])))


def _module(found: Modules, states: Ranked) -> dict[str, TensorRef]:
    """Return what a rank's module holds, and note what it only names."""
    tensors = _tensors(found, states, inside(states.file.root, "module"))
    shapes = {name: shape for group in param_shapes(states) for name, shape in group.items()}
    frozen = table(inside(states.file.root, "frozen_param_shapes"))
    named = shapes.keys() | {name for name in frozen if isinstance(name, str)}
    is_split = states.part.dp is not None  # ZeRO-3: what is empty lies elsewhere, named or not
    placeholders = {
        name: tensors[name].dtype if name in tensors else ""
        for name in [*tensors, *sorted(named - tensors.keys())]
        if (name in named or is_split) and (name not in tensors or not tensors[name].size)
    }
    found.placeholders[states.part.mp] = placeholders
    return {name: tensor for name, tensor in tensors.items() if name not in placeholders}


def _tensors(found: Modules, each: Ranked, root: object) -> dict[str, TensorRef]:
    tensors: dict[str, TensorRef] = {}
    for name, value in tensors_in(root):
        tensor = each.file.tensor(value, name)
        if isinstance(tensor, TensorRef):
            tensors[name] = tensor
        elif tensor is not None:
            found.skipped.append(tensor)
    return tensors
