"""The three-legged comparison: PyTorch, ONNX Runtime, TensorRT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx_ir as ir

from tripoint.errors import InputError
from tripoint.model import Model
from tripoint.numeric import trials
from tripoint.numeric.inputs import Arrays, InputSpecs, inputs_of
from tripoint.parity import points as choice
from tripoint.parity import vacuous
from tripoint.parity.compare_legs import compare_legs
from tripoint.parity.exercised import exercised
from tripoint.parity.failing import FailingCase
from tripoint.parity.legs import Leg
from tripoint.parity.legs.onnxruntime import OnnxRuntimeLeg
from tripoint.parity.legs.tensorrt import TensorRTLeg
from tripoint.parity.legs.torch import TorchLeg
from tripoint.parity.points import Point
from tripoint.parity.results import (
    FIXED,
    ONNX_RUNTIME,
    PYTORCH,
    TENSORRT,
    LegReport,
    Verification,
    unsuited,
)
from tripoint.sources.pairing import pair_inputs
from tripoint.sources.python import TorchModel
from tripoint.tolerance.derivation import Given, Rounding
from tripoint.trt.tf32 import Environment

_BESIDE = 2
"""Further inputs of the sizes of a point, where no three points have the same sizes."""


@dataclass(frozen=True)
class Engine:
    """A TensorRT engine to compare.

    Args:
        plan: The engine file.
        tensorrt: Which TensorRT runs it, None for the first that can be imported.
        version: Its version, for the report.
        device: The GPU, for the report.
        tf32: Whether it may round float32 products to TF32.
        environment: Variables that it was built with and needs to run.
        timeout: Seconds that the execution of all points may take.
        rounding: What its precision was measured to cost.
    """

    plan: Path
    tensorrt: str | None = None
    version: str = "unknown"
    device: str = "gpu"
    tf32: bool = True
    environment: Environment | None = None
    timeout: float = 600.0
    rounding: Rounding = field(default_factory=dict)


def verify(
    model: Model,
    *,
    torch: TorchModel | None = None,
    fixed: Model | None = None,
    engine: Engine | None = None,
    no_engine: str = "no engine was given",
    bindings: Sequence[Mapping[str, int]] = ({},),
    inputs: Sequence[Arrays] | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    atol: Given = None,
    rtol: Given = None,
    seed: int = 0,
    values: Mapping[str, tuple[float, float]] | None = None,
    rebuilt: Engine | str | None = None,
    failing: FailingCase | None = None,
) -> Verification:
    """Run every leg that can run, at several points, and compare all outputs by name.

    Arguments and errors are those of :func:`tripoint.verify`, but for: ``bindings``, the size of
    each symbol at each point, see :func:`tripoint.profiles.points.sweep`; ``rebuilt``, the engine,
    built a second time, or why it could not be; and ``failing``, where the first failing case is
    saved. With less than three points, further ones repeat them with other seeds. The example
    inputs of ``torch`` are a point as well, if they are within the range of these.
    """
    refuse_unreadable(model)
    specs = inputs_of(model)
    examples = choice.examples_of(torch, specs, input_names) if inputs is None else {}
    if inputs is not None:
        chosen = choice.of_arrays(specs, inputs)
    else:
        chosen = choice.made_up(model, specs, bindings, seed=seed, values=values, examples=examples)

    def compare(at: Sequence[Point], further: Sequence[str]) -> Verification:
        legs, absent, notes = _legs(
            model, torch, fixed, engine, no_engine, list(specs), input_names
        )
        alone = vacuous.repeated(at)
        result = compare_legs(
            model,
            specs,
            legs,
            at,
            absent=absent,
            rebuilt=tensorrt_leg(rebuilt) if isinstance(rebuilt, Engine) else rebuilt,
            output_names=output_names,
            atol=atol,
            rtol=rtol,
            rounding={TENSORRT: engine.rounding} if engine is not None else None,
            notes=[*notes, *chosen.notes, *further],
            said=chosen.inputs,
            failing=failing,
            beside=()
            if alone is None
            else [*choice.beside(model, specs, alone, _BESIDE, values=values, examples=examples)],
        )
        own = [note for leg in legs if isinstance(leg, OnnxRuntimeLeg) for note in leg.notes]
        return replace(result, notes=(*result.notes, *dict.fromkeys(own)))

    points, said = chosen.points, list[str]()
    result = compare(points, said)
    if result.unsuited and result.verdict != "different":
        better = tuple(_suited(model, specs, points, values, examples))
        note = trials.note(point.values for point in better if point.made_up)
        same = all(
            trials.same(new.inputs, point.inputs) for new, point in zip(better, points, strict=True)
        )
        if not same:
            points, said = better, [note] if note else []
            result = compare(points, said)
        result = _judged(result) if same or result.unsuited else result
    still = [name for name, each in result.variation.items() if vacuous.varies_not(each)]
    tried = 0
    if inputs is None and still and result.verdict != "different":
        base = vacuous.repeated(points) or next(
            (point for point in reversed(points) if point.made_up), points[-1]
        )
        others, tried = vacuous.moving(model, specs, base, still, ranges=values, like=examples)
        if others:
            more = compare((*points, *others), [*said, _moved_by(still, others)])
            # One leg may refuse what another takes, as negative indices; that is no fault of it.
            if _ran(more) >= _ran(result):
                points, result, tried = (*points, *others), more, 0
    # The example comes first, since not all points need be looked at.
    ordered = sorted(points, key=lambda point: not point.example)
    seen = exercised(model, [point.inputs for point in ordered])
    return vacuous.judged(replace(result, exercised=seen), tried)


def _ran(result: Verification) -> int:
    return sum(leg.status == "ran" for leg in result.legs)


def _moved_by(names: Sequence[str], points: Sequence[Point]) -> str:
    """Return the reason for further points."""
    drawn = dict.fromkeys(trials.told(point.values) or "other seeds" for point in points)
    return (
        f"the usual made-up inputs do not move output {', '.join(names)}; "
        f"also used: {'; '.join(drawn)}"
    )


def _judged(result: Verification) -> Verification:
    """Return the result for inputs of which no better ones are available.

    Where a model runs at some sizes and at others on no inputs, it is the sizes that do not suit.
    """
    nowhere = not any(point.outputs for point in result.points)
    if unsuited(result.points, result.metamorphic, nowhere=nowhere):
        return replace(result, notes=(*result.notes, trials.UNSUITED))
    return replace(result, unsuited=False)


def _suited(
    model: Model,
    specs: InputSpecs,
    points: Sequence[Point],
    ranges: Mapping[str, tuple[float, float]] | None,
    examples: Arrays,
) -> list[Point]:
    """The points, with inputs on which the model runs without NaN where some are found."""
    # The example of a module is what it is.
    drawn = [(each.sizes, each.seed) for each in points if each.made_up and each.seed is not None]
    tried = trials.suited(model, specs, drawn, ranges=ranges, like=examples)
    suited = []
    for point in points:
        trial = next(tried) if point.made_up else None
        suited.append(
            point if trial is None else replace(point, inputs=trial.inputs, values=trial.values)
        )
    return suited


def refuse_unreadable(model: Model) -> None:
    """Make sure that every input and output is a tensor of numbers.

    Raises:
        InputError: If one holds strings, a sequence, or something else that cannot be compared.
    """
    graph = model.ir.graph
    for kind, values in (("input", graph.inputs), ("output", graph.outputs)):
        for value in values:
            what = _not_numbers(value)
            if what:
                raise InputError(
                    f"{kind} {value.name!r} is {what}; only tensors of numbers are compared",
                    hint="cut the graph before it, for instance with onnx.utils.extract_model",
                )


def _not_numbers(value: ir.Value) -> str | None:
    if isinstance(value.type, (ir.SequenceType, ir.OptionalType)):
        return f"a{'n optional' if isinstance(value.type, ir.OptionalType) else ' sequence'}"
    return "a tensor of strings" if value.dtype == ir.DataType.STRING else None


def _legs(
    model: Model,
    torch: TorchModel | None,
    fixed: Model | None,
    engine: Engine | None,
    no_engine: str,
    inputs: Sequence[str],
    input_names: Sequence[str] | None,
) -> tuple[list[Leg], list[LegReport], list[str]]:
    legs: list[Leg] = []
    absent: list[LegReport] = []
    notes: list[str] = []
    if torch is None:
        absent.append(LegReport(PYTORCH, "not run", reason="no PyTorch module was given"))
    else:
        parameters, note = pair_inputs(torch, inputs, input_names)
        notes += [*torch.notes, *([note] if note else [])]
        legs.append(TorchLeg(torch, inputs=parameters))
    legs.append(OnnxRuntimeLeg(model, name=ONNX_RUNTIME))
    if fixed is not None:
        legs.append(OnnxRuntimeLeg(fixed, name=FIXED))
    if engine is None:
        absent.append(LegReport(TENSORRT, "not run", reason=no_engine))
    else:
        legs.append(tensorrt_leg(engine))
    return legs, absent, notes


def tensorrt_leg(engine: Engine) -> TensorRTLeg:
    """Return the leg that executes an engine."""
    return TensorRTLeg(
        engine.plan,
        tensorrt=engine.tensorrt,
        version=engine.version,
        device=engine.device,
        tf32=engine.tf32,
        environment=engine.environment,
        timeout=engine.timeout,
    )
