"""The options that a person can write in place of those that a graph cannot take."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tripoint.profiles import profile
from tripoint.profiles.export_formats import quoted, trtexec
from tripoint.profiles.profile import InputProfile, Profile
from tripoint.spec import InputSpec, Range, Spec
from tripoint.symbols import Shape, symbols_of

if TYPE_CHECKING:
    from tripoint.profiles.constraints.needs import Needs


def options(
    needed: Needs,
    profiles: Sequence[tuple[Profile, Mapping[str, Range]]],
    wrong: int,
    specs: Sequence[Spec],
) -> str | None:
    """Options with which min, opt and max satisfy every equation, as they were written before.

    Args:
        needed: What the graph needs.
        profiles: Each profile and its ranges by symbol, values of shape tensors among them.
        wrong: The profile that violates an equation.
        specs: What was written, one for each profile.

    Returns:
        None if no sizes are known that the graph takes.
    """
    inputs = needed.inputs
    broken, ranges = profiles[wrong]
    dims = _dims(inputs, broken)
    least = {name: min(1, ranges[name].min) for name in dims}
    solved = needed.solved(ranges, dims, least)
    if not solved.legal:
        return None
    spec = specs[wrong] if wrong < len(specs) else Spec()
    values = {each.name: (each.min, each.opt, each.max) for each in broken.inputs if each.values}
    right = profile.from_ranges(inputs, solved.ranges, values)
    written = spec.resolve_names(inputs)
    if any(each.values is not None and each.dims for each in written.values()):
        every = [right if index == wrong else each for index, (each, _) in enumerate(profiles)]
        return trtexec([_dynamic(inputs, each) for each in every])
    said = _said(inputs, spec, written, ranges, solved.ranges, dims, right)
    if len(profiles) == 1:
        return " ".join(f"--{option} {shlex.quote(text)}" for option, text in said)
    return f"--profile {shlex.quote(' '.join(text for _, text in said))}"


def _dims(inputs: Mapping[str, Shape], broken: Profile) -> list[str]:
    """The symbols of the dims, in the order of the inputs."""
    values = {each.name for each in broken.inputs if each.values}
    shapes = (shape for name, shape in inputs.items() if name not in values)
    return list(
        dict.fromkeys(s for shape in shapes for dim in shape for s in sorted(symbols_of(dim)))
    )


def _said(
    inputs: Mapping[str, Shape],
    spec: Spec,
    written: Mapping[str, InputSpec],
    before: Mapping[str, Range],
    after: Mapping[str, Range],
    dims: Sequence[str],
    right: Profile,
) -> list[tuple[str, str]]:
    """The option and its text for each symbol that is moved, or was not given at all."""
    shapes = {each.name: each for each in right.inputs}
    said: dict[tuple[str, str], None] = {}
    for symbol in dims:
        places = [
            (name, entry.dims[axis])
            for name, entry in written.items()
            for axis, dim in enumerate(inputs[name])
            if dim == symbol and axis < len(entry.dims)
        ]
        bound = symbol in spec.dims or bool(places)
        if bound and before[symbol] == after[symbol]:
            continue
        sized = [name for name, text in places if not isinstance(text, str)]
        if symbol in spec.dims or not sized:
            names = [text for _, text in places if isinstance(text, str) and text in spec.dims]
            name = symbol if symbol in spec.dims or not names else names[0]
            said[("dim", f"{name}={_range(after[symbol])}")] = None
        else:
            for name in sized:
                said[("input", _input(shapes[name]))] = None
    return list(said)


def _input(each: InputProfile) -> str:
    sizes = zip(each.min, each.opt, each.max, strict=True)
    return f"{quoted(each.name)}:{'x'.join(_range(Range(*three)) for three in sizes)}"


def _range(size: Range) -> str:
    return str(size.min) if size.min == size.max else str(size)


def _dynamic(inputs: Mapping[str, Shape], entry: Profile) -> list[InputProfile]:
    return [
        each
        for each in entry.inputs
        if each.values or any(isinstance(dim, str) for dim in inputs[each.name])
    ]
