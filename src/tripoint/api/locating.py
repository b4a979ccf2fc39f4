"""Search for the nodes that produce a difference, or an error of precision."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tripoint.api.arguments import as_given, as_model, as_torch, sweep
from tripoint.progress import Progress, silent

if TYPE_CHECKING:
    from tripoint.api.arguments import ModelLike
    from tripoint.parity.locate.precision import Ranking
    from tripoint.parity.locate.results import Location
    from tripoint.sources.python import TorchModel
    from tripoint.spec import Spec


def locate(
    model: ModelLike,
    *,
    torch: str | TorchModel | None = None,
    engine: str | os.PathLike[str] | None = None,
    build_engine: bool = False,
    fixed: ModelLike | None = None,
    against: ModelLike | None = None,
    expected: Mapping[str, Any] | None = None,
    spec: Spec | None = None,
    inputs: Sequence[Mapping[str, Any]] | None = None,
    values: Mapping[str, tuple[float, float]] | None = None,
    tensorrt: str | None = None,
    tf32: bool = True,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    atol: float | Mapping[str, float] | None = None,
    rtol: float | Mapping[str, float] | None = None,
    timeout: float = 600.0,
    seed: int = 0,
    most_tensors: int = 64,
    folder: str | os.PathLike[str] | None = None,
    force: bool = False,
    on_progress: Progress | None = None,
) -> Location:
    """Find the first node, in graph order, that makes two legs differ.

    Args:
        model: The ONNX model; as :func:`tripoint.api.facts`.
        torch: The module that it came from, compared with ONNX Runtime.
        engine: A plan, compared with ONNX Runtime; further engines are built as it was.
        build_engine: Whether to build an engine here in place of a given one.
        fixed: The rewritten model, compared as well; engines are of it.
        against: Another model with the same tensor names, compared in ONNX Runtime.
        expected: Outputs that were recorded elsewhere, by output name; the reference of the
            engine, or else of ONNX Runtime.
        spec: Range of every dynamic dim.
        inputs: Inputs to use in place of generated ones, one mapping for a point.
        values: Smallest and largest value of generated inputs, by name.
        tensorrt: Name of the importable TensorRT.
        tf32: Whether an engine that is built may round float32 products to TF32.
        input_names: What the ONNX file calls the inputs of the module, in order.
        output_names: Names for what the module returns, in order.
        atol: Absolute tolerance of outputs in place of the derived one.
        rtol: Relative tolerance, likewise.
        timeout: Seconds that one build and run of an engine may take.
        seed: Seed of the generated inputs.
        most_tensors: Intermediate tensors to have in memory at a time.
        folder: Where a minimal model that shows the difference goes; None to write none.
        force: Whether files in it may be replaced.
        on_progress: Called with one line at each step.

    Raises:
        UsageError: If there is nothing to compare, a dynamic dim has no range, or names cannot
            be matched.
        InputError: If a model or its code cannot be read.
        OutputError: If a file of the repro exists without ``force``, or cannot be written.
    """
    from tripoint.parity.locate import engines, request
    from tripoint.parity.locate.locate import Limits
    from tripoint.profiles.constraints.legal import LegalSizes

    model = as_given(model, spec)
    legal = LegalSizes.of(model, spec) if inputs is None else None
    asked = None
    if engine is not None:
        asked = engines.of_plan(Path(engine), tensorrt, timeout)
    elif build_engine:
        profile = legal.profile if legal else None
        asked = engines.built_here(tensorrt, timeout, tf32=tf32, profile=profile)
    return request.run(
        request.Request(
            model,
            torch=as_torch(torch) if torch is not None else None,
            expected=expected,
            fixed=as_model(fixed) if fixed is not None else None,
            against=as_model(against) if against is not None else None,
            tensorrt=asked,
            input_names=input_names,
            output_names=output_names,
            ranges=legal.limits if legal else {},
        ),
        bindings=legal.points() if legal else [{}],
        inputs=inputs,
        values=values,
        seed=seed,
        limits=Limits(most_tensors, atol, rtol),
        folder=Path(folder) if folder is not None else None,
        force=force,
        progress=on_progress or silent,
    )


def locate_precision(
    model: ModelLike,
    precision: Literal["fp16", "bf16"],
    *,
    spec: Spec | None = None,
    inputs: Sequence[Mapping[str, Any]] | None = None,
    values: Mapping[str, tuple[float, float]] | None = None,
    atol: float | Mapping[str, float] | None = None,
    rtol: float | Mapping[str, float] | None = None,
    seed: int = 0,
    folder: str | os.PathLike[str] | None = None,
    force: bool = False,
    on_progress: Progress | None = None,
) -> Ranking:
    """Rank the nodes by what a lower precision costs there, in ONNX Runtime.

    Args:
        model: As :func:`tripoint.api.facts`, in float32.
        precision: The lower precision.
        spec: Range of every dynamic dim.
        inputs: Inputs to use in place of generated ones, one mapping for a point.
        values: Smallest and largest value of generated inputs, by name.
        atol: Absolute tolerance of outputs; see :func:`tripoint.parity.locate.precision.rank`.
        rtol: Relative tolerance, likewise.
        seed: Seed of the generated inputs.
        folder: Where the list for ``build --keep-fp32`` goes; None to write none.
        force: Whether it may be replaced.
        on_progress: Called with one line at each step.

    Raises:
        UsageError: If a dynamic dim has no range, or given inputs do not fit.
        ExternalStepError: If ONNX Runtime cannot run the model.
        OutputError: If the list exists without ``force``, or cannot be written.
    """
    from tripoint import files
    from tripoint.parity.locate import precision as costs
    from tripoint.parity.locate.graph import Graph
    from tripoint.parity.locate.request import points

    if folder is not None:
        files.refuse_overwrite(Path(folder) / costs.LIST, force=force)
    graph = Graph(as_model(model))
    where = [{}] if inputs is not None else sweep(graph.model, spec)
    ranking = costs.rank(
        graph,
        precision,
        [point.inputs for point in points(graph, where, inputs, seed, values=values)],
        atol=atol,
        rtol=rtol,
        progress=on_progress or silent,
    )
    return costs.write(ranking, Path(folder), force=force) if folder is not None else ranking
