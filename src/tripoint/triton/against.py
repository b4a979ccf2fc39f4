"""Compares a configuration with the plan or ONNX model that it is for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

from tripoint.triton import batching
from tripoint.triton.comparison import Comparison
from tripoint.triton.findings import Notes
from tripoint.triton.interface import Interface, Tensor
from tripoint.triton.text import Parsed

_NUMBER = re.compile(r"[0-9]{1,9}")


def check(parsed: Parsed, interface: Interface, notes: Notes) -> None:
    """Note where a configuration does not fit a model.

    The conditions are those of Triton's backends: a varying axis takes any size in the profile,
    names decide and not their order, and a plan needs every tensor configured.
    """
    used = _check_profiles(parsed, interface, notes)
    _check_largest_batch(parsed, interface, used, notes)
    for which, tensors, others in (
        ("input", interface.inputs, interface.outputs),
        ("output", interface.outputs, interface.inputs),
    ):
        fields = getattr(parsed.config, which)
        if not fields:
            notes.skip(
                f"the {which}s",
                f"the configuration lists none; Triton takes those of "
                f"{interface.source}, in no order that is promised",
            )
            continue
        _check_names(which, tensors, others, parsed, interface, notes)
        by_name = {tensor.name: tensor for tensor in tensors}
        for index, field in enumerate(fields):
            if field.name in by_name:
                Comparison(parsed, interface, used, notes, which, index, field).check(
                    by_name[field.name]
                )


def _check_names(
    which: str,
    tensors: Sequence[Tensor],
    others: Sequence[Tensor],
    parsed: Parsed,
    interface: Interface,
    notes: Notes,
) -> None:
    """Unknown, missing and reordered names."""
    names = [tensor.name for tensor in tensors]
    elsewhere = _named_elsewhere(parsed.config)
    listed = [field.name for field in getattr(parsed.config, which)]
    free = [name for name in names if name not in listed]
    for index, name in enumerate(listed):
        if name in names or not name:
            continue
        line = parsed.line(which, index, "name")
        if any(name == other.name for other in others):
            wrong = "output" if which == "input" else "input"
            notes.error(
                "tensor-name",
                f"{name!r} is an {wrong} of {interface.source}",
                f"list it as {wrong}",
                line=line,
            )
            continue
        near = difflib.get_close_matches(name, free, n=1) or free[:1]
        free = [each for each in free if each not in near]
        notes.error(
            "tensor-name",
            f"{interface.source} has no {which} named {name!r}; it has "
            f"{', '.join(map(repr, names))}",
            f'name: "{near[0]}"' if near else f"no such {which}",
            line=line,
        )
    for name in free:
        # ONNX Runtime gives the outputs that it is asked for.
        if name in elsewhere or (which == "output" and interface.backend == "onnxruntime"):
            continue
        notes.error(
            "missing-tensor",
            f"{which} {name!r} of {interface.source} is not configured",
            "the configuration of every input and output",
            line=parsed.line(which),
        )
    both = [name for name in listed if name in names]
    if both != [name for name in names if name in both] and len(set(both)) == len(both):
        notes.warning(
            "order",
            f"the {which}s stand in the order {', '.join(both)}; {interface.source} has "
            f"{', '.join(name for name in names if name in both)}",
            "the same order: Triton goes by name, but clients that go by position mix them up",
            line=parsed.line(which),
        )


def _named_elsewhere(config: Any) -> set[str]:
    """Tensors that Triton fills in by itself and that are no input or output of a request."""
    names = {name for each in config.batch_input for name in each.target_name}
    names |= {name for each in config.batch_output for name in each.target_name}
    sequence = config.sequence_batching
    names |= {each.name for each in sequence.control_input}
    return names | {n for state in sequence.state for n in (state.input_name, state.output_name)}


def _check_profiles(parsed: Parsed, interface: Interface, notes: Notes) -> list[int]:
    """The profiles that the instances use; without any named it is the first."""
    if interface.backend != "tensorrt" or not interface.bounded:
        return []
    count = max(len(interface.profiles), 1)
    every = "profile: [" + ", ".join(f'"{n}"' for n in range(count)) + "]"
    groups = [
        [int(name) for name in group.profile if _NUMBER.fullmatch(name)]
        for group in parsed.config.instance_group
    ]
    for index, group in enumerate(groups):
        for number in group:
            if number >= count:
                notes.error(
                    "profile",
                    f"there is no profile {number}; {interface.source} has {count}, from 0",
                    every,
                    line=parsed.line("instance_group", index, "profile"),
                )
    sets = [set(group) or {0} for group in groups] or [{0}]
    named = {number for group in sets for number in group if number < count}
    if len(interface.profiles) > 1:
        unused = sorted(set(range(count)) - named)
        if unused:
            notes.warning(
                "profile",
                f"no instance uses profile {', '.join(map(str, unused))}; without profile an "
                "instance uses the first",
                f"{every} in one instance_group",
                line=parsed.line("instance_group"),
            )
        elif any(group != sets[0] for group in sets):
            notes.warning(
                "profile",
                "the instance groups use different profiles, and Triton hands a request to any "
                "free instance: those outside of its profiles fail",
                f"{every} in one instance_group",
                line=parsed.line("instance_group"),
            )
    return sorted(number for number in named if number < len(interface.profiles))


def _check_largest_batch(
    parsed: Parsed, interface: Interface, used: Sequence[int], notes: Notes
) -> None:
    size = parsed.config.max_batch_size
    most = batching.largest(interface, used)
    # A fixed first axis is told at the tensor that has it.
    varies = all(tensor.shape and tensor.shape[0] == -1 for tensor in interface.inputs)
    if size > 0 and varies and most is not None and size > most:
        notes.error(
            "max-batch-size",
            f"max_batch_size {size} is more than the {most} of the profile",
            f"max_batch_size: {most}, or build with a larger range",
            line=parsed.line("max_batch_size"),
        )
    least = batching.smallest(interface)
    if size > 0 and varies and least is not None and least > 1:
        notes.warning(
            "max-batch-size",
            f"no profile takes fewer than {least} rows, so smaller batches fail",
            "build with a range from 1",
            line=parsed.line("max_batch_size"),
        )
