"""An optimizer's states by the parameters they belong to: `<parameter>.<state>`."""

from __future__ import annotations

_STATES = frozenset({
    "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "square_avg",
    "acc_delta", "sum", "fp32_param", "param", "master_param",
})  # fmt: skip
_STATE = "state."
_GROUPS = "param_groups"


def state_name(name: str) -> str:
    """Return a state's name, told from where it is in the optimizer's state dict.

    Both orders are met: `state.<parameter>.<state>`, and Megatron's `state.<state>.<parameter>`.
    """
    inside = name.removeprefix(_STATE)
    head, dot, rest = inside.partition(".")
    if dot and head in _STATES:
        return f"{rest}.{head}"
    # A number alone stands for a parameter that nothing names.
    return f"{_STATE}{inside}" if head.isdecimal() and "." not in rest else inside


def is_counter(name: str) -> bool:
    """Return whether a tensor of an optimizer is a setting or a count of its steps."""
    return name.rpartition(".")[2] == "step" or name.partition(".")[0] == _GROUPS
