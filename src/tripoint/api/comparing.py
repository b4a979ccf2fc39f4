"""Comparison of PyTorch, ONNX Runtime and TensorRT."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tripoint.api.arguments import as_given, as_model, as_torch, read_inputs

if TYPE_CHECKING:
    from tripoint.api.arguments import ModelLike
    from tripoint.model import Model
    from tripoint.parity.results import Verification
    from tripoint.parity.verify import Engine
    from tripoint.sources.python import TorchModel
    from tripoint.spec import Spec


def verify(
    model: ModelLike,
    *,
    torch: str | TorchModel | None = None,
    fixed: ModelLike | None = None,
    engine: str | os.PathLike[str] | None = None,
    no_engine: str | None = None,
    spec: Spec | None = None,
    points: Sequence[Mapping[str, int]] | int | None = None,
    inputs: str | os.PathLike[str] | Sequence[Mapping[str, Any]] | None = None,
    values: Mapping[str, tuple[float, float]] | None = None,
    tensorrt: str | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    atol: float | Mapping[str, float] | None = None,
    rtol: float | Mapping[str, float] | None = None,
    timeout: float = 600.0,
    seed: int = 0,
    rebuild: bool = False,
    save_failing: str | os.PathLike[str] | None = None,
    force: bool = False,
) -> Verification:
    """Compare PyTorch, ONNX Runtime and TensorRT, output by output and by name.

    Args:
        model: The ONNX model; as :func:`tripoint.api.facts`.
        torch: The module that it came from: ``file.py:name`` or a ``TorchModel``.
        fixed: The rewritten model, compared as well; an engine is compared with it.
        engine: A plan, executed where a GPU is.
        no_engine: Why there is none, for the report.
        spec: Range of every dynamic dim.
        points: Sizes by symbol in place of those that follow from ``spec``, or how many of
            those to take; see :func:`tripoint.profiles.points.sweep`.
        inputs: Inputs to use in place of generated ones: one mapping for a point, or what
            :func:`tripoint.sources.inputs_file.read_inputs` reads.
        values: Smallest and largest value of generated inputs, by name.
        tensorrt: Name of the importable TensorRT that executes the plan.
        input_names: What the ONNX file calls the inputs of the module, in order.
        output_names: Names for what the module returns, in order.
        atol: Absolute tolerance in place of the derived one, for all outputs or by name.
        rtol: Relative tolerance, likewise.
        timeout: Seconds that executing the engine may take.
        seed: Seed of the generated inputs.
        rebuild: Whether the engine is built a second time to see that it computes the same.
        save_failing: Folder for the first failing case; see :mod:`tripoint.parity.failing`.
        force: Whether a failing case that lies there already may be replaced.

    Raises:
        UsageError: If a dynamic dim has no range, or outputs cannot be matched by name.
        InputError: If a model or its code cannot be read, or it takes or gives something that is
            no tensor of numbers.
        OutputError: If a failing case cannot be saved.
    """
    from tripoint.parity import engines
    from tripoint.parity import failing as failing_case
    from tripoint.parity import rebuild as rebuilding
    from tripoint.parity.verify import verify as run_verify

    model = as_model(model)
    loaded = engines.of_plan(Path(engine), tensorrt, timeout) if engine is not None else None
    no_engine = loaded if isinstance(loaded, str) else no_engine or "no engine was given"
    running = None if isinstance(loaded, str) else loaded
    module = as_torch(torch) if torch is not None else None
    rewritten = as_model(fixed) if fixed is not None else None
    failing = None
    if save_failing is not None:
        subject = failing_case.Subject(
            model,
            torch=module.reference if module else None,
            fixed=rewritten,
            engine=Path(engine) if engine is not None else None,
            options=failing_case.options(atol, rtol, output_names, tensorrt, input_names),
        )
        failing = failing_case.FailingCase(Path(save_failing), subject, force)
    if isinstance(inputs, (str, os.PathLike)):
        inputs = read_inputs(inputs, model, input_names)
    if points is None or isinstance(points, int):
        model = as_given(model, spec)
        points = [{}] if inputs is not None else _sizes(model, spec, points)
    with tempfile.TemporaryDirectory(prefix="tripoint-") as folder:
        rebuilt: Engine | str | None = None
        if rebuild:
            rebuilt = no_engine
            if running is not None:
                rebuilt = rebuilding.again(running, rewritten or model, Path(folder))
        found_out = run_verify(
            model,
            torch=module,
            fixed=rewritten,
            engine=running,
            no_engine=no_engine,
            bindings=points,
            inputs=inputs,
            input_names=input_names,
            output_names=output_names,
            atol=atol,
            rtol=rtol,
            seed=seed,
            values=values,
            rebuilt=rebuilt,
            failing=failing,
        )
    return _with_misread(found_out, rewritten or model, engine)


def _with_misread(
    result: Verification, model: Model, engine: str | os.PathLike[str] | None
) -> Verification:
    """The verification, with what the manifest of an engine that did not run tells of it."""
    from tripoint.analysis import misreading
    from tripoint.engine import manifest
    from tripoint.parity.results import TENSORRT

    ran = any(leg.name == TENSORRT and leg.status == "ran" for leg in result.legs)
    if engine is None or ran:
        return result
    content = manifest.beside(Path(engine))
    shapes = {each["name"]: each["shape"] for each in content.get("outputs", ())}
    untrue = misreading.untrue_outputs(model, shapes)
    ignored = misreading.ignored_attributes(model) if content else ()
    return dataclasses.replace(
        result,
        verdict="different" if untrue else result.verdict,
        reasons=(*untrue, *ignored, *result.reasons),
    )


def _sizes(model: Model, spec: Spec | None, count: int | None) -> Sequence[Mapping[str, int]]:
    from tripoint.profiles import points
    from tripoint.profiles.constraints.legal import LegalSizes

    legal = LegalSizes.of(model, spec)
    return points.sweep(legal.ranges, count or points.SWEEP, allowed=legal.take)
