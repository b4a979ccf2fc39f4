"""Optimization profiles: which sizes each dynamic input dim may take.

An input whose values are sizes, a shape tensor, has a profile of its values; see
:mod:`tripoint.shape_inference.shape_inputs`.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tripoint.errors import UsageError
from tripoint.graph import passthrough
from tripoint.spec import ENDS, InputSpec, Range, Spec
from tripoint.symbols import Dim, Shape, evaluate, symbols_of
from tripoint.words import number_of

Sizes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class InputProfile:
    """The shapes of one input.

    Args:
        name: Input name.
        min: Smallest size on every axis.
        opt: The shape to tune for.
        max: Largest size on every axis.
        values: Whether ``min``, ``opt`` and ``max`` are values of a shape tensor, not dims.
    """

    name: str
    min: Sizes
    opt: Sizes
    max: Sizes
    values: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """One optimization profile over all inputs, in the model's order."""

    inputs: tuple[InputProfile, ...]

    def renamed(self, outputs: Container[str]) -> Profile:
        """The same with the names that the engine has; see :mod:`tripoint.graph.passthrough`.

        Args:
            outputs: Names of the graph outputs.
        """
        named = (replace(i, name=passthrough.engine_name(i.name, outputs)) for i in self.inputs)
        return Profile(tuple(named))


Values = Mapping[str, Sequence[str]]
"""A symbol for each value, by shape tensor.

See :func:`tripoint.shape_inference.shape_inputs.find`.
"""

_NO_VALUES: Values = {}


def from_spec(
    inputs: Mapping[str, Shape],
    spec: Spec,
    *,
    default: Range | None = None,
    values: Values = _NO_VALUES,
    proposed: Mapping[str, Range] | None = None,
) -> Profile:
    """The profile that a person asked for.

    Args:
        inputs: True shape by graph input.
        spec: What was written: ``--input`` and ``--dim``.
        default: Range of a symbol that nothing binds; None makes that an error.
        values: The shape tensors among the inputs.
        proposed: As :func:`bindings`.

    Raises:
        UsageError: As :func:`bindings`, or if a dynamic dim has no range, or a shape tensor no
            values.
    """
    ranges = bindings(inputs, spec, complete=default is None, values=values, proposed=proposed)
    if default is not None:
        ranges = {symbol: ranges.get(symbol, default) for symbol in _own(inputs)}
    return from_ranges(inputs, ranges, values_of(inputs, spec, values, complete=True))


def from_ranges(
    inputs: Mapping[str, Shape],
    ranges: Mapping[str, Range],
    values: Mapping[str, tuple[Sizes, Sizes, Sizes]],
) -> Profile:
    """The profile with these ranges.

    Args:
        inputs: True shape by graph input.
        ranges: Range of every symbol in them.
        values: Smallest, best and largest values by shape tensor.
    """
    low, opt, high = (
        {symbol: getattr(size, end) for symbol, size in ranges.items()} for end in ENDS
    )
    return Profile(
        tuple(
            InputProfile(name, *values[name], values=True)
            if name in values
            else InputProfile(
                name,
                _sizes(name, shape, low),
                _sizes(name, shape, opt),
                _sizes(name, shape, high),
            )
            for name, shape in inputs.items()
        )
    )


def several(
    inputs: Mapping[str, Shape], specs: Sequence[Spec], *, values: Values = _NO_VALUES
) -> tuple[Profile, ...]:
    """The profiles that a person asked for, one for each spec.

    Args:
        inputs: True shape by graph input.
        specs: What was written; see :meth:`tripoint.spec.Spec.several`.
        values: The shape tensors among the inputs.

    Returns:
        As many as there are specs; none for a model that needs none.

    Raises:
        UsageError: As :func:`from_spec`.
    """
    profiles = tuple(from_spec(inputs, spec, values=values) for spec in specs or (Spec(),))
    return profiles if values or _own(inputs) else ()


def values_of(
    inputs: Mapping[str, Shape], spec: Spec, values: Values, *, complete: bool = False
) -> dict[str, tuple[Sizes, Sizes, Sizes]]:
    """Smallest, best and largest values of the shape tensors that a person gave some for.

    ``s:1x3x64..96..128`` and ``s=[1,3,64]..[1,3,96]..[1,3,128]`` say the same.

    Args:
        inputs: True shape by graph input.
        spec: What was written.
        values: The shape tensors among the inputs.
        complete: Whether all of them must have values.

    Raises:
        UsageError: If their number is wrong, a symbol among them has no range, or, with
            ``complete``, a shape tensor has none.
    """
    bounds = {}
    for name, entry in spec.resolve_names(inputs).items():
        if name not in values:
            continue
        three = entry.values
        if three is None:
            ends = [_ends(name, dim, spec.dims) for dim in entry.dims]
            low, opt, high = (tuple(end[index] for end in ends) for index in range(3))
            three = low, opt, high
        if len(three[0]) != len(values[name]):
            raise UsageError(
                f"input {name!r} is a shape tensor of {len(values[name])} values, "
                f"{len(three[0])} were given"
            )
        bounds[name] = three
    if complete and (missing := [name for name in values if name not in bounds]):
        raise _without_values(missing[0], len(values[missing[0]]))
    return bounds


def _without_values(name: str, count: int) -> UsageError:
    shown = ",".join("1" * count)
    return UsageError(
        f"input {name!r} is a shape tensor: its values are sizes, so the profile needs "
        f"{'its value' if count == 1 else f'its {count} values'}, not its dims",
        hint=f"--input '{name}=[{shown}]..[{shown}]..[{shown}]'   (min..opt..max, with the values "
        "you need)",
    )


def bindings(
    inputs: Mapping[str, Shape],
    spec: Spec,
    *,
    complete: bool = True,
    values: Values = _NO_VALUES,
    proposed: Mapping[str, Range] | None = None,
) -> dict[str, Range]:
    """The ranges of the symbols in the input shapes.

    A symbol is bound by ``--dim N=1..8..32``, or by what ``--input x:1..8..32x3x224x224`` says
    at its axis; one size there binds min, opt and max. ``--input x:Mx3`` with ``--dim M=1..8``
    binds the model's own symbol at that axis under the name ``M``.

    Args:
        inputs: True shape by graph input: integers, symbols, or expressions in symbols.
        spec: What was written.
        complete: Whether every symbol must have a range; False leaves those without one out.
        values: The shape tensors among the inputs; what is written for these are values.
        proposed: Ranges to name where one is missing; empty if none are known to go together.

    Returns:
        Range by symbol, in the order in which the symbols occur in the inputs; empty if all
        inputs are static.

    Raises:
        UsageError: If a name, symbol or rank is unknown or wrong, a static dim is given another
            size, a symbol is bound twice and differently, or, with ``complete``, not at all.
    """
    written = spec.resolve_names(inputs)
    own = _own(inputs)
    _refuse_unknown_symbols(spec, own, written)
    written = {name: entry for name, entry in written.items() if name not in values}
    bound = _Bound()
    for symbol in own:
        if symbol in spec.dims:
            bound.bind(symbol, spec.dims[symbol], f"--dim {symbol}={spec.dims[symbol]}")
    for name, entry in written.items():
        _bind_input(bound, name, inputs[name], entry, spec.dims)
    missing = [symbol for symbol in own if symbol not in bound.ranges]
    if missing and complete:
        raise _unbound(inputs, missing, proposed)
    ranges = {symbol: bound.ranges[symbol] for symbol in own if symbol in bound.ranges}
    _check_expressions(inputs, written, ranges)
    return ranges


@dataclass
class _Bound:
    ranges: dict[str, Range] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)

    def bind(self, symbol: str, size: Range, origin: str) -> None:
        bound = self.ranges.get(symbol)
        if bound is not None and bound != size:
            raise UsageError(
                f"dimension {symbol} is bound to {bound} by {self.origins[symbol]} "
                f"and to {size} by {origin}",
                hint="one symbol has one range; give it once",
            )
        self.ranges[symbol] = size
        self.origins.setdefault(symbol, origin)


def _bind_input(
    bound: _Bound, name: str, shape: Shape, entry: InputSpec, dims: Mapping[str, Range]
) -> None:
    if entry.values is not None and not entry.dims and shape:
        raise UsageError(
            f"input {name!r} is no shape tensor: it takes sizes, not the values "
            f"{list(entry.values[0])}",
            hint=f"its shape is {_spell(shape)}; write {name}:1x3 or {name}:1..8..32x3",
        )
    if len(entry.dims) != len(shape):
        raise UsageError(
            f"input {name!r} has {number_of(len(shape), 'axis')} ({_spell(shape)}), "
            f"{len(entry.dims)} were given"
        )
    for axis, (true, said) in enumerate(zip(shape, entry.dims, strict=True)):
        size = _range(said, dims)
        if size is None:
            continue
        if isinstance(true, int):
            if size != Range(true, true, true):
                raise UsageError(
                    f"axis {axis} of input {name!r} is {true} in the model, not {said}",
                    hint="export the model with that axis dynamic to give it other sizes",
                )
        elif _symbols(true) == (true,):
            bound.bind(true, size, f"axis {axis} of --input {name}")


def _range(said: int | str | Range, dims: Mapping[str, Range]) -> Range | None:
    if isinstance(said, int):
        return Range(said, said, said)
    return dims.get(said) if isinstance(said, str) else said


def _ends(name: str, said: int | str | Range, dims: Mapping[str, Range]) -> Sizes:
    """Smallest, best and largest of a value, which may be 0."""
    if isinstance(said, str) and said not in dims:
        raise UsageError(
            f"value {said} of input {name!r} has no range", hint=f"add --dim {said}=MIN..OPT..MAX"
        )
    size = dims[said] if isinstance(said, str) else said
    return (size,) * 3 if isinstance(size, int) else (size.min, size.opt, size.max)


def _own(inputs: Mapping[str, Shape]) -> tuple[str, ...]:
    dims = (dim for shape in inputs.values() for dim in shape)
    return tuple(dict.fromkeys(symbol for dim in dims for symbol in _symbols(dim)))


def _refuse_unknown_symbols(
    spec: Spec, own: Sequence[str], written: Mapping[str, InputSpec]
) -> None:
    said = {dim for entry in written.values() for dim in entry.dims if isinstance(dim, str)}
    for symbol in spec.dims:
        if symbol not in own and symbol not in said:
            hint = f"its symbols are {', '.join(own)}" if own else "all its inputs are static"
            raise UsageError(f"the model has no dimension named {symbol}", hint=hint)
    for symbol in sorted(said):
        if symbol not in spec.dims and symbol not in own:
            raise UsageError(
                f"dimension {symbol} has no range", hint=f"add --dim {symbol}=MIN..OPT..MAX"
            )


def _unbound(
    inputs: Mapping[str, Shape], missing: Sequence[str], proposed: Mapping[str, Range] | None
) -> UsageError:
    symbol = missing[0]
    name, axis = next(
        (name, axis)
        for name, shape in inputs.items()
        for axis, dim in enumerate(shape)
        if symbol in _symbols(dim)
    )
    others = f" (and {', '.join(missing[1:])})" if missing[1:] else ""
    fact = f"input {name!r} has a dynamic axis {axis}, {symbol}{others}, without a range"
    if proposed is None:
        proposed = dict.fromkeys(missing, Range(1, 8, 32))
    if not proposed.keys() >= set(missing):
        reason = "no sizes are known that satisfy what the graph needs with those given"
        return UsageError(f"{fact}; {reason}")
    hint = " ".join(f"--dim {symbol}={proposed[symbol]}" for symbol in missing)
    return UsageError(
        fact,
        hint=f"{hint}   (min..opt..max, with the sizes you need; tripoint profile proposes some)",
    )


def _check_expressions(
    inputs: Mapping[str, Shape], written: Mapping[str, InputSpec], ranges: Mapping[str, Range]
) -> None:
    for name, entry in written.items():
        for axis, (true, said) in enumerate(zip(inputs[name], entry.dims, strict=True)):
            if isinstance(true, int) or isinstance(said, str) or _symbols(true) == (true,):
                continue
            size = Range(said, said, said) if isinstance(said, int) else said
            for end in ENDS:
                at = {symbol: getattr(bounds, end) for symbol, bounds in ranges.items()}
                decided = evaluate(true, at)
                if decided is not None and decided != getattr(size, end):
                    raise UsageError(
                        f"axis {axis} of input {name!r} is {true}, which is {decided} "
                        f"at the {end} of its range, not {getattr(size, end)}"
                    )


def _sizes(name: str, shape: Shape, at: Mapping[str, int]) -> Sizes:
    sizes = []
    for axis, dim in enumerate(shape):
        size = evaluate(dim, at)
        if size is None or size < 0:
            said = ", ".join(f"{name} = {each}" for name, each in at.items())
            raise UsageError(f"axis {axis} of input {name!r} is {dim}, which is no size at {said}")
        sizes.append(size)
    return tuple(sizes)


def _symbols(dim: Dim) -> tuple[str, ...]:
    return tuple(sorted(symbols_of(dim)))


def _spell(shape: Shape) -> str:
    return "x".join(str(dim) for dim in shape) or "scalar"
