"""Whole optimization profiles against a model, before anything is built."""

from __future__ import annotations

import contextlib
import difflib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tripoint.errors import UsageError
from tripoint.graph.names import node_name
from tripoint.graph.source_lines import source_of
from tripoint.model import Model
from tripoint.numeric.inputs import shapes_of
from tripoint.profiles.constraints import Finding, check, hints
from tripoint.profiles.constraints.needs import Needs
from tripoint.profiles.profile import InputProfile, Profile, bindings, several
from tripoint.shape_inference import constraints as equations
from tripoint.shape_inference import shape_inputs, truth
from tripoint.shape_inference.constraints.evaluate import UndecidedError, holds
from tripoint.spec import ENDS, Range, Spec
from tripoint.symbols import Shape, evaluate, is_plain, symbols_of

_USUAL = Range(1, 8, 32)
"""Range proposed for a size of which nothing is known."""


@dataclass(frozen=True, slots=True)
class Examined:
    """One profile, and how each equation of the graph fares in it.

    Args:
        profile: The profile.
        ranges: Range by symbol: dims of inputs, and values of shape tensors of at least 1.
        findings: One for each equation, in graph order.
        dims: The symbols among them that stand for dims.
    """

    profile: Profile
    ranges: Mapping[str, Range]
    findings: tuple[Finding, ...]
    dims: frozenset[str]

    @property
    def violated(self) -> tuple[Finding, ...]:
        """Return the findings that do not hold at min, opt or max, in graph order."""
        return tuple(each for each in self.findings if each.status == "violated")


def needs(model: Model, specs: Sequence[Spec] = ()) -> Needs:
    """Collect what a profile of a model must satisfy.

    See :mod:`tripoint.shape_inference.constraints`.

    Args:
        model: The model.
        specs: What was written of its profiles: which sizes may be 0.

    Raises:
        InputError: If an input declares no type or no rank.
    """
    inputs = shapes_of(model)
    values = shape_inputs.find(model.ir)
    free = values or any(isinstance(dim, str) for shape in inputs.values() for dim in shape)
    empty = {
        symbol
        for spec in specs
        for symbol, size in bindings(inputs, spec, complete=False, values=values).items()
        if size.min == 0
    }
    return Needs(
        inputs, values, *(equations.collect_with_meant(model.ir, empty) if free else ((),))
    )


def checked(model: Model, specs: Sequence[Spec]) -> tuple[Profile, ...]:
    """The profiles that a person asked for, once they are known to be right.

    Args:
        model: The model.
        specs: What was written, one for each profile.

    Returns:
        As many profiles as there are specs; none for a model that needs none.

    Raises:
        UsageError: If a profile cannot be carried out, or a size in it is one that the graph
            cannot take; the message names the node.
    """
    return tuple(each.profile for each in asked(needs(model, specs), specs))


def asked(needed: Needs, specs: Sequence[Spec]) -> tuple[Examined, ...]:
    """Return the result of :func:`checked`, with the ranges and equations.

    Raises:
        UsageError: As :func:`checked`.
    """
    for spec in specs or (Spec(),):
        # Only a range that is missing needs one that is proposed.
        ranges = bindings(needed.inputs, spec, complete=False, values=needed.values)
        bindings(needed.inputs, spec, values=needed.values, proposed=_completed(needed, ranges))
    examined = examine(needed, several(needed.inputs, specs, values=needed.values))
    refuse(examined, needed, specs)
    return examined


def _completed(needed: Needs, ranges: Mapping[str, Range]) -> Mapping[str, Range]:
    """Ranges with what was not given; empty if none are known that the graph takes."""
    dims = (
        symbol
        for name, shape in needed.inputs.items()
        if name not in needed.values
        for dim in shape
        for symbol in sorted(symbols_of(dim))
    )
    missing = [symbol for symbol in dict.fromkeys(dims) if symbol not in ranges]
    if not missing:
        return ranges
    wanted = {**ranges, **dict.fromkeys(missing, _USUAL)}
    solution = needed.solved(wanted, missing)
    return solution.ranges if solution.legal else {}


def examine(needed: Needs, profiles: Sequence[Profile]) -> tuple[Examined, ...]:
    """Hold profiles against what a model needs.

    Raises:
        UsageError: If a profile has not the model's inputs, or their ranks and fixed sizes, or
            min, opt and max are not in order.
    """
    examined = []
    for profile in profiles:
        ranges = ranges_of(needed, profile)
        values = {symbol for names in needed.values.values() for symbol in names}
        findings = check(needed.equations, ranges, needed.meant)
        examined.append(Examined(profile, ranges, findings, frozenset(ranges) - values))
    return tuple(examined)


def frozen_at(model: Model, profiles: Sequence[Profile]) -> tuple[str, ...]:
    """Return the sizes of the export's example that stay at a profile's sizes, though all runs.

    An equation such as ``(N*S) % 5 == 0`` holds by accident for N = 10, S = 2 where the export
    froze N at 5.

    Args:
        model: The model.
        profiles: Its profiles, which satisfy the equations.

    Returns:
        A sentence for each frozen size that meets another size, at the first such end.
    """
    if not profiles:
        return ()
    needed = needs(model)
    sources = {node_name(node): source_of(node) for node in model.ir.graph.all_nodes()}
    texts = []
    for entry in truth.infer(model.ir).frozen:
        for profile, end in itertools.product(profiles, ENDS):
            at = {name: getattr(size, end) for name, size in ranges_of(needed, profile).items()}
            size = evaluate(entry.expected, at)
            if size is None or size == entry.size:
                continue
            line = sources.get(entry.node)
            where = f"{entry.op}, {line}" if line else entry.op
            sizes = ", ".join(f"{name} = {at[name]}" for name in sorted(symbols_of(entry.expected)))
            texts.append(
                f"at {end} {sizes}: node {entry.node!r} ({where}) makes axis {entry.axis} of "
                f"{entry.tensor} {entry.size} where its input has {size}: a size of the export's "
                f"example stayed. The graph runs, and what it computes is only meant for "
                f"{entry.expected} = {entry.size}; `tripoint verify MODEL --torch REFERENCE` "
                "compares"
            )
            break
    return tuple(texts)


def takes(needed: Needs, sizes: Mapping[str, int]) -> bool:
    """Return whether no equation is known to be violated at these sizes, one for each symbol."""
    for equation in needed.equations:
        if equation.decided and equation.symbols <= sizes.keys():
            with contextlib.suppress(UndecidedError):
                if not holds(equation, sizes):
                    return False
    return True


def refuse(
    examined: Sequence[Examined], needed: Needs, specs: Sequence[Spec], *, listed: bool = False
) -> None:
    """Raise the first violated equation, with options that satisfy all where some were found.

    Args:
        examined: The profiles.
        needed: What the model needs.
        specs: What was written, one for each profile.
        listed: Whether all violated equations were told already.

    Raises:
        UsageError: If one is violated at min, opt or max of a profile.
    """
    for index, each in enumerate(examined):
        if each.violated:
            first, more = each.violated[0], len(each.violated) - 1
            which = f"profile {index}: " if len(examined) > 1 else ""
            where = "" if listed else ", which tripoint profile lists"
            others = f" (and {more} more{where})" if more else ""
            right = hints.options(
                needed,
                [(one.profile, one.ranges) for one in examined],
                index,
                specs,
            )
            none = "" if right else "; no sizes near these satisfy all that the graph needs"
            raise UsageError(
                f"{which}{sentence(first)}{others}{none}",
                hint=f"for instance {right}" if right else None,
            )


def sentence(finding: Finding) -> str:
    """Return what is wrong with which sizes, at which node and line, and what would be right."""
    equation = finding.equation
    at = f"at {finding.at} " if finding.at else ""
    sizes = ", ".join(f"{name} = {size}" for name, size in (finding.sizes or {}).items())
    where = f"node {equation.node!r} ({equation.op}"
    where += f", {equation.source})" if equation.source else ")"
    fact = f"{at}{sizes}: " if sizes else ""
    fact += f"{where} needs {equation.text}"
    plain = is_plain(str(equation.left)) and isinstance(equation.right, int)
    if finding.rule and not plain:
        fact += f", so {finding.rule}"
    if finding.nearest:
        fact += f"; nearest {shown(finding.nearest)}"
    if finding.meant:
        fact += (
            f"; what it computes is only meant for {finding.meant}: a size of the export's "
            "example stayed"
        )
    return f"{fact}; {equation.reason}"


def shown(changes: Sequence[Mapping[str, int]]) -> str:
    """Legal sizes in a sentence: ``H = 192 or 224, or W = 64``."""
    by_symbol: dict[tuple[str, ...], list[Mapping[str, int]]] = {}
    for change in changes:
        by_symbol.setdefault(tuple(change), []).append(change)
    said = []
    for names, group in by_symbol.items():
        if len(names) == 1:
            said.append(f"{names[0]} = {' or '.join(str(each[names[0]]) for each in group)}")
        else:
            said += [" with ".join(f"{n} = {size}" for n, size in each.items()) for each in group]
    return ", or ".join(said)


def ranges_of(needed: Needs, profile: Profile) -> dict[str, Range]:
    """The ranges of a profile by symbol.

    Raises:
        UsageError: As :func:`examine`.
    """
    entries = {each.name: each for each in profile.inputs}
    for name in entries:
        if name not in needed.inputs:
            near = difflib.get_close_matches(name, needed.inputs, n=1)
            raise UsageError(
                f"the profile names an input {name!r}, which the model does not have",
                hint=f"did you mean {near[0]}?"
                if near
                else f"its inputs are {', '.join(needed.inputs)}",
            )
    ranges: dict[str, Range] = {}
    for name, shape in needed.inputs.items():
        fixed = name not in needed.values and all(isinstance(dim, int) for dim in shape)
        if name not in entries:
            if fixed:
                continue
            raise UsageError(f"the profile says nothing of input {name!r}")
        _in_order(entries[name])
        if name in needed.values:
            _bind_values(ranges, entries[name], needed.values[name])
        else:
            _bind_dims(ranges, entries[name], shape)
    _check_expressions(ranges, needed, entries)
    return ranges


def _in_order(entry: InputProfile) -> None:
    least = None if entry.values else 0
    if not len(entry.min) == len(entry.opt) == len(entry.max):
        raise UsageError(f"input {entry.name!r} has not the same rank at min, opt and max")
    for axis, (low, opt, high) in enumerate(zip(entry.min, entry.opt, entry.max, strict=True)):
        if not low <= opt <= high or (least is not None and low < least):
            raise UsageError(
                f"axis {axis} of input {entry.name!r}: {low}..{opt}..{high} does not satisfy "
                f"{'' if least is None else '0 <= '}min <= opt <= max"
            )


def _bind_values(ranges: dict[str, Range], entry: InputProfile, names: Sequence[str]) -> None:
    if not entry.values or len(entry.min) != len(names):
        raise UsageError(
            f"input {entry.name!r} is a shape tensor: its profile is made of its {len(names)} "
            "values, not of its dims"
        )
    for name, *ends in zip(names, entry.min, entry.opt, entry.max, strict=True):
        # Values of 0 and less have meanings of their own; equations in them stay undecided.
        if ends[0] >= 1:
            ranges[name] = Range(*ends)


def _bind_dims(ranges: dict[str, Range], entry: InputProfile, shape: Shape) -> None:
    if entry.values or len(entry.min) != len(shape):
        raise UsageError(
            f"input {entry.name!r} has {len(shape)} axes, its profile {len(entry.min)}"
            f"{' values' if entry.values else ''}"
        )
    for axis, dim in enumerate(shape):
        size = Range(entry.min[axis], entry.opt[axis], entry.max[axis])
        if isinstance(dim, int):
            if size != Range(dim, dim, dim):
                raise UsageError(
                    f"axis {axis} of input {entry.name!r} is {dim} in the model, not {size}",
                    hint="export the model with that axis dynamic to give it other sizes",
                )
        elif is_plain(dim) and ranges.setdefault(dim, size) != size:
            raise UsageError(
                f"axis {axis} of input {entry.name!r} is {dim}, which is {ranges[dim]} at another "
                f"input, not {size}",
                hint="one symbol has one range",
            )


def _check_expressions(
    ranges: Mapping[str, Range], needed: Needs, entries: Mapping[str, InputProfile]
) -> None:
    for end in ENDS:
        at = {name: getattr(size, end) for name, size in ranges.items()}
        for name, shape in needed.inputs.items():
            if name not in entries or name in needed.values:
                continue
            for axis, (dim, size) in enumerate(
                zip(shape, getattr(entries[name], end), strict=True)
            ):
                if (decided := evaluate(dim, at)) not in (None, size):
                    raise UsageError(
                        f"axis {axis} of input {name!r} is {dim}, which is {decided} at {end}, "
                        f"not {size}"
                    )
