"""Results of a verification; the fields are the keys of the JSON output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from tripoint.parity.compare import OutputComparison
from tripoint.parity.metamorphic import FINITE, REBUILD, SECOND_RUN, MetamorphicCheck
from tripoint.words import number_of

Verdict = Literal["equal", "different", "unproven"]
PYTORCH = "PyTorch"
ONNX_RUNTIME = "ONNX Runtime"
FIXED = "ONNX Runtime (fixed)"
TENSORRT = "TensorRT"
LEGS = (PYTORCH, ONNX_RUNTIME, FIXED, TENSORRT)


@dataclass(frozen=True, slots=True)
class LegReport:
    """One leg and whether it ran.

    Args:
        name: ``"PyTorch"``, ``"ONNX Runtime"``, ``"ONNX Runtime (fixed)"`` or ``"TensorRT"``.
        status: ``"failed"`` if it started and raised.
        version: Version of its library, None if it did not run.
        device: Where it ran, None if it did not run.
        reason: Why it did not run or failed.
        tf32: Whether it may round float32 products to TF32, None if it did not run.
    """

    name: str
    status: Literal["ran", "failed", "not run"]
    version: str | None = None
    device: str | None = None
    reason: str | None = None
    tf32: bool | None = None


@dataclass(frozen=True, slots=True)
class PointReport:
    """The comparisons at one set of input sizes.

    Args:
        shapes: Sizes by input name.
        seed: Seed of its inputs, None where they were given.
        outputs: One entry for each pair of legs and output.
        sizes: Size by symbol; empty for a model whose inputs are static.
        values: Ranges by input name that its inputs were drawn from, where the usual ones do not
            suit the model.
        example: Whether its inputs are the module's own example inputs.
        beyond: Whether its inputs leave what operators need to give numbers.
    """

    shapes: Mapping[str, tuple[int, ...]]
    seed: int | None
    outputs: tuple[OutputComparison, ...]
    sizes: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    example: bool = False
    beyond: bool = False

    @property
    def made_up(self) -> bool:
        """Return whether its inputs were made up to suit the model."""
        return self.seed is not None and not self.beyond

    @property
    def place(self) -> str:
        """The shapes in one line: ``"x:4x3x16x16 n:scalar"``."""
        return " ".join(
            f"{name}:{'x'.join(map(str, shape)) or 'scalar'}" for name, shape in self.shapes.items()
        )


@dataclass(frozen=True, slots=True)
class Variation:
    """Causes that move an output, as far as ONNX Runtime showed.

    Args:
        depends: What the graph says that it depends on.
        unchanged: Share of the elements that no other inputs of the same sizes move by more than
            what is allowed; None if no two inputs had the same sizes.
        number: What all elements are at all points, if they are one number.
        inputs: How many inputs of the same sizes were run.
        elements: Elements over all points.
        points: Points at which it has elements.
        by_chance: Whether it has so few elements that they may be the same by chance.
    """

    depends: Literal["values", "sizes", "nothing"]
    unchanged: float | None
    number: float | None
    inputs: int
    elements: int
    points: int
    by_chance: bool


Part = Literal["branches", "rows", "limits", "masks"]


@dataclass(frozen=True, slots=True)
class Unexercised:
    """Something in the graph that no point exercises.

    Args:
        part: Branches of If and bodies of Loop, rows of tables that Gather reads, limits of
            clamps, or sides of the condition of Where.
        node: Name of the node; of rows, that of the table.
        op: Its operator.
        what: ``"then"``, ``"above 6"``, ``"true"``, or of rows how many of how many.
        read: Of rows, the share that is read.
    """

    part: Part
    node: str
    op: str
    what: str
    read: float | None = None


@dataclass(frozen=True, slots=True)
class Exercised:
    """Parts that the points exercise, as ONNX Runtime showed.

    Args:
        points: At how many it was looked, by part; fewer if all had been seen, or for the time.
        watched: How many nodes were watched, by what they have.
        missing: What was not seen.
    """

    points: Mapping[Part, int]
    watched: Mapping[Part, int]
    missing: tuple[Unexercised, ...]


@dataclass(frozen=True, slots=True)
class Permutation:
    """Outputs that changed places between two legs, the same way at every point.

    Args:
        pair: The two legs, the reference first.
        outputs: For each output of the second leg that is out of place, the name whose values
            it holds.
    """

    pair: str
    outputs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Verification:
    """Verdict on whether PyTorch, ONNX Runtime and TensorRT compute the same.

    Args:
        verdict: ``"different"`` if any compared pair differs; ``"equal"`` only if all three ran
            and agree; otherwise ``"unproven"``.
        reasons: Why the verdict is not ``"equal"``.
        legs: Every leg, those that did not run included.
        points: The comparisons.
        permutation: Set if the differences are nothing but outputs in each other's place.
        metamorphic: Checks that need no reference.
        notes: What was assumed to make the legs comparable.
        failing: The case that was saved because it fails; see :mod:`tripoint.parity.failing`.
        next: The command that searches for the node behind a difference, or that compares with
            inputs of one's own; None if outputs agree, or if not all that was compared can be
            named on a command line.
        unsuited: Whether the inputs that were made up do not suit the model: no leg runs on some
            of them, or all legs give NaN at the same places.
        inputs: What each input is, in words, by name: ``"integers 1..999 like the example"``.
        vacuous: Outputs of which nothing is proven, because no inputs move them.
        variation: What moves each output, by name.
        visible: The smallest fault of one element that would have been seen in each output, as a
            share of a typical one; 0 where any would have been.
        exercised: What in the graph the points leave untouched; None if nothing could be.
    """

    verdict: Verdict
    reasons: tuple[str, ...]
    legs: tuple[LegReport, ...]
    points: tuple[PointReport, ...]
    permutation: Permutation | None
    metamorphic: tuple[MetamorphicCheck, ...]
    notes: tuple[str, ...]
    failing: SavedCase | None = None
    next: str | None = None
    unsuited: bool = False
    inputs: Mapping[str, str] = field(default_factory=dict)
    vacuous: tuple[str, ...] = ()
    variation: Mapping[str, Variation] = field(default_factory=dict)
    visible: Mapping[str, float] = field(default_factory=dict)
    exercised: Exercised | None = None


@dataclass(frozen=True, slots=True)
class SavedCase:
    """Location of a failing case.

    Args:
        folder: The folder.
        command: What repeats it; None if the module or the model was given as an object.
    """

    folder: str
    command: str | None


def decide(
    legs: Sequence[LegReport],
    points: Sequence[PointReport],
    metamorphic: Sequence[MetamorphicCheck],
) -> tuple[Verdict, tuple[str, ...]]:
    """The verdict and the reasons for it.

    A leg that does not repeat itself differs, from itself, and NaN differs from any number. But
    where all legs give NaN at the same places, nothing is known of these, and if the inputs were
    made up, they do not suit the model; infinities at the same places may be a mask. A relation
    between the rows of a batch that some legs keep and others break tells legs apart too; one that
    all of them break is what the model does.
    """
    wrong: dict[tuple[str, str, str], list[tuple[PointReport, OutputComparison]]] = {}
    holes: dict[tuple[str, str], list[tuple[PointReport, OutputComparison]]] = {}
    for point in points:
        for entry in point.outputs:
            if entry.same_nan and point.made_up and not entry.wrong:
                holes.setdefault((entry.pair, entry.name), []).append((point, entry))
            elif not entry.equal:
                wrong.setdefault((entry.pair, entry.name, entry.status), []).append((point, entry))
    different: list[str] = []
    unproven: list[str] = []
    count = number_of(len(points), "point")
    random = {
        name: f"output {name} {entries[0][1].detail}, so that no two legs agree"
        for (_, name, status), entries in wrong.items()
        if status == "random"
    }
    unproven += random.values()
    for (pair, name, status), entries in wrong.items():
        if status == "random":
            continue
        said = f"{pair}: output {name} is {status} at {len(entries)} of {count}{_worst(entries)}"
        (unproven if status == "covered" else different).append(said)
    unproven += [
        f"{pair}: output {name} has nan at the same places at {len(entries)} of {count}"
        f": {entries[0][1].detail}"
        for (pair, name), entries in holes.items()
    ]
    unproven += [
        f"{leg.name} {'failed' if leg.status == 'failed' else 'was not run'}: {leg.reason}"
        for leg in legs
        if leg.status != "ran"
    ]
    made_up = any(point.made_up for point in points)
    for check in metamorphic:
        if check.status == "different":
            told_apart = check.check in (SECOND_RUN, REBUILD) or any(
                other.check == check.check and other.status == "equal" for other in metamorphic
            )
            reason = f"{check.leg}: {check.check} is different {check.reason}"
            if told_apart:
                different.append(reason)
            elif check.check != FINITE or (check.has_nan and made_up):
                unproven.append(reason)
    verdict: Verdict = "different" if different else "unproven" if unproven else "equal"
    return verdict, (*different, *unproven)


def unsuited(
    points: Sequence[PointReport], metamorphic: Sequence[MetamorphicCheck], *, nowhere: bool
) -> bool:
    """Return whether inputs that were made up do not suit the model.

    Args:
        points: The comparisons.
        metamorphic: The checks.
        nowhere: Whether no leg runs at some points.
    """
    made_up = [point for point in points if point.made_up]
    if points and not made_up:
        return False
    holes = any(entry.same_nan for point in made_up for entry in point.outputs)
    nan = [check.has_nan for check in metamorphic if check.check == FINITE]
    return nowhere or holes or (bool(nan) and all(nan))


def _worst(entries: Sequence[tuple[PointReport, OutputComparison]]) -> str:
    """Describe the largest difference and its place, or give the detail."""
    point, entry = max(entries, key=lambda pair: pair[1].excess or 0.0)
    if (
        entry.status == "covered"
        or entry.axes is not None
        or entry.max_abs is None
        or entry.index is None
        or (entry.ties and entry.agreement is not None)
    ):
        return f": {entry.detail}" if entry.detail else ""
    element = f"[{', '.join(map(str, entry.index))}]"
    times = f", {entry.excess:.3g} times what is allowed" if entry.excess else ""
    top = f"; top-1 agrees in {entry.top.top1:.2%}" if entry.top else ""
    exact = f"; {entry.detail}" if entry.agreement is not None or entry.ties else ""
    return f": off by {entry.max_abs:.3g} at {point.place}, element {element}{times}{exact}{top}"
