"""Sizes for a profile where nobody gave any."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tripoint.model import Model
from tripoint.numeric.inputs import inputs_of
from tripoint.profiles import profile
from tripoint.profiles.constraints import nearest
from tripoint.profiles.constraints.needs import Needs
from tripoint.profiles.constraints.profiles import Examined, examine, frozen_at, needs
from tripoint.profiles.export_formats import Spellings, spell
from tripoint.profiles.profile import Profile
from tripoint.shape_inference.constraints import Equation
from tripoint.shape_inference.constraints.evaluate import UndecidedError, holds
from tripoint.sources import ranges as recording
from tripoint.spec import ENDS, Range, Spec
from tripoint.symbols import Shape, symbols_of

_OPT, _WIDEST = 4, 16
"""Times its smallest size that a range which was moved up reaches, at opt and at max."""

_BATCH = re.compile(r"(^|_)(n|b|bs|batch\w*)(_|$)|batch", re.IGNORECASE)
_LENGTH = re.compile(
    r"(^|_)(s|l|t|len\w*|seq\w*|time\w*|tokens?|frames?|past\w*)(_|$)|length|seq", re.IGNORECASE
)
_IMAGE = re.compile(r"(^|_)(h|w|height|width)(_|$)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Guess:
    size: Range
    what: str


_GUESSES: Mapping[str, _Guess] = {
    "batch": _Guess(Range(1, 4, 16), "a batch"),
    "image": _Guess(Range(64, 224, 512), "height or width of an image"),
    "length": _Guess(Range(1, 128, 512), "the length of a sequence"),
    "other": _Guess(Range(1, 16, 64), "a size of unknown meaning"),
}


@dataclass(frozen=True, slots=True)
class Proposal:
    """A profile, and where its numbers come from.

    Args:
        profile: The profile.
        ranges: Range by symbol.
        sources: One sentence for each symbol.
    """

    profile: Profile
    ranges: Mapping[str, Range]
    sources: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ProfileResult:
    """Result of ``tripoint profile``.

    Args:
        needed: Inputs, shape tensors and equations of the model.
        dtypes: ONNX element type in lower case by input.
        proposals: One for each profile; none for a model that needs none.
        examined: How the equations fare in each.
        spellings: The profiles as other tools take them; None without profiles, or if one
            violates an equation.
        warnings: Sizes of the export's example that stay at the sizes of a profile.
    """

    needed: Needs
    dtypes: Mapping[str, str]
    proposals: tuple[Proposal, ...]
    examined: tuple[Examined, ...]
    spellings: Spellings | None
    warnings: tuple[str, ...] = ()


def profiles(model: Model, specs: Sequence[Spec]) -> ProfileResult:
    """Propose a profile for each spec, and examine it.

    Args:
        model: The model.
        specs: What was written.

    Raises:
        UsageError: As :func:`propose`.
    """
    needed = needs(model, specs)
    inputs = inputs_of(model)
    dynamic = needed.values or any(
        isinstance(d, str) for shape in needed.inputs.values() for d in shape
    )
    proposals = tuple(propose(model, needed, spec) for spec in specs)
    proposals = proposals if dynamic else ()
    examined = examine(needed, [each.profile for each in proposals])
    outputs = {value.name or "" for value in model.ir.graph.outputs}
    right = bool(proposals) and not any(each.violated for each in examined)
    return ProfileResult(
        needed,
        {name: dtype for name, (dtype, _) in inputs.items()},
        proposals,
        examined,
        spell([each.profile for each in proposals], inputs, outputs) if right else None,
        frozen_at(model, [each.profile for each in proposals]) if right else (),
    )


def propose(model: Model, needed: Needs, spec: Spec) -> Proposal:
    """Fill a profile up from what was given, what an export recorded, and what dims stand for.

    What was given stays as it is. The rest is moved to sizes that satisfy the equations, where
    there are some near.

    Args:
        model: The model.
        needed: What :func:`tripoint.profiles.constraints.profiles.needs` found in it.
        spec: What was written.

    Raises:
        UsageError: As :func:`tripoint.profiles.profile.bindings`, or if a shape tensor has no
            values: those cannot be guessed.
    """
    asked = profile.bindings(needed.inputs, spec, complete=False, values=needed.values)
    own = list(
        dict.fromkeys(
            symbol
            for name, shape in needed.inputs.items()
            if name not in needed.values
            for dim in shape
            for symbol in sorted(symbols_of(dim))
        )
    )
    recorded = recording.recorded(model.ir, own)
    kinds = {name: kind for name, (kind, _) in inputs_of(model).items()}
    ranges: dict[str, Range] = {}
    sources: dict[str, str] = {}
    for symbol in own:
        guess = _GUESSES[_kind_of(symbol, needed.inputs, kinds)]
        if symbol in asked:
            ranges[symbol], sources[symbol] = asked[symbol], "given"
        elif symbol in recorded:
            ranges[symbol], sources[symbol] = _from_record(recorded[symbol], guess)
        else:
            ranges[symbol], sources[symbol] = guess.size, f"default for {guess.what}"
    # Values of shape tensors take part as they were given.
    values = profile.values_of(needed.inputs, spec, needed.values, complete=True)
    for name, three in values.items():
        for symbol, *ends in zip(needed.values[name], *three, strict=True):
            if ends[0] >= 1:
                ranges[symbol] = Range(*ends)
    mended = _mended(needed, ranges, [s for s in own if s not in asked], sources)
    return Proposal(
        profile.from_ranges(needed.inputs, mended, values),
        {symbol: mended[symbol] for symbol in own},
        sources,
    )


def _from_record(record: recording.Recorded, guess: _Guess) -> tuple[Range, str]:
    high = record.max if record.max is not None else max(record.min, guess.size.max)
    opt = record.opt if record.opt is not None else min(max(guess.size.opt, record.min), high)
    said = f"recorded by {record.by}"
    if record.max is None:
        said += f", without a limit; max is the default for {guess.what}"
    return Range(record.min, opt, high), said


def _kind_of(symbol: str, inputs: Mapping[str, Shape], dtypes: Mapping[str, str]) -> str:
    """Return what a symbol stands for, by its name and by where it first stands."""
    name, shape, axis = next(
        (name, shape, axis)
        for name, shape in inputs.items()
        for axis, dim in enumerate(shape)
        if symbol in symbols_of(dim)
    )
    rank, is_float = len(shape), "float" in dtypes[name]
    counts_rows = axis == 0 or not (isinstance(shape[0], str) and _BATCH.search(shape[0]))
    if (_BATCH.search(symbol) and counts_rows) or (
        axis == 0 and rank > 1 and not _IMAGE.search(symbol)
    ):
        return "batch"
    if _IMAGE.search(symbol):
        return "image"
    if is_float and rank >= 3 and axis >= rank - 2 and not _LENGTH.search(symbol):
        channels = shape[rank - 3]
        if channels in (1, 3, 4) or (rank > 3 and not any(isinstance(d, int) for d in shape[-2:])):
            return "image"
    if _LENGTH.search(symbol) or rank <= 3 or axis == rank - 2:
        return "length"
    return "other"


def _mended(
    needed: Needs,
    ranges: Mapping[str, Range],
    free: Sequence[str],
    sources: dict[str, str],
) -> dict[str, Range]:
    """Ranges whose free symbols were moved until min, opt and max satisfy the equations."""
    solved = needed.solved(ranges, free)
    mended = dict(solved.ranges)
    # What was moved up as a whole stays as wide as what was wanted.
    wider = {
        symbol: _scaled(ranges[symbol], mended[symbol].min)
        for symbol in free
        if solved.legal
        and mended[symbol].min == mended[symbol].max > ranges[symbol].max
        and ranges[symbol].min < ranges[symbol].max
    }
    if wider and (again := needed.solved({**mended, **wider}, free)).legal:
        mended = dict(again.ranges)
    every = (*needed.equations, *needed.meant)
    decided = [each for each in every if each.decided and each.symbols <= ranges.keys()]
    wrong = [each for each in decided if not _holds(each, ranges)]
    for symbol in free:
        if mended[symbol] != ranges[symbol]:
            # What is moved for others may have been right by itself.
            reasons = dict.fromkeys(
                nearest.rule(each) or each.meant for each in wrong if symbol in each.symbols
            )
            why = f", moved because {', '.join(reasons)}" if reasons else ", moved along"
            sources[symbol] += f" ({ranges[symbol]}){why}"
    return mended


def _scaled(size: Range, least: int) -> Range:
    """A range with another smallest size."""
    opt, most = (math.ceil(least * end / max(1, size.min)) for end in (size.opt, size.max))
    return Range(least, min(opt, _OPT * least), min(most, _WIDEST * least))


def _holds(equation: Equation, ranges: Mapping[str, Range]) -> bool:
    ends = ({name: getattr(size, end) for name, size in ranges.items()} for end in ENDS)
    try:
        return all(bool(holds(equation, at, strict=True)) for at in ends)
    except UndecidedError:
        return True
