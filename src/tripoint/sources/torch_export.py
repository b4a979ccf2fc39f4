"""Export of a PyTorch module to an ONNX file, with either of PyTorch's exporters."""

from __future__ import annotations

import functools
import inspect
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import onnx_ir as ir

from tripoint import files
from tripoint import model as models
from tripoint.errors import ExternalStepError, InputError, TripointError, UsageError
from tripoint.graph.source_lines import Frame, parse_frames, shown_path
from tripoint.model import Model
from tripoint.shape_inference import truth
from tripoint.sources import held, normalize, ranges
from tripoint.sources.capture import Captured, captured
from tripoint.sources.example_inputs import InputPlan, plan_inputs
from tripoint.sources.flatten import flatten
from tripoint.sources.named import as_torch
from tripoint.sources.python import TorchModel, copies, describe_failure
from tripoint.spec import Range, Spec

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Exporter = Literal["dynamo", "torchscript"]
_FACT_LINES = 4
_BAKED_IN = 8
"""TracerWarnings that are listed."""
_SPECIALIZED = re.compile(r"Constraints violated|specialized")
"""Message of torch.export where a dim that was to range has one size only."""
_ADVICE = re.compile(r"(For more information, run with|For extended logs|Caused by:).*")


@dataclass(frozen=True)
class Export:
    """An ONNX file that was made from a PyTorch module.

    Args:
        model: The model as it was read back from the file.
        symbols: Range by symbol, for the dims that stayed dynamic.
        example_inputs: The tensors that it was exported with, by input name.
        output_names: Names of its outputs, in order.
        log: What the exporter printed.
        exporter: Whose graph it is: the other one's than was asked for, if only that keeps the
            ranges.
        notes: What is to be known of the ranges.
    """

    model: Model
    symbols: Mapping[str, Range]
    example_inputs: Mapping[str, Tensor]
    output_names: tuple[str, ...]
    log: str
    exporter: Exporter = "dynamo"
    notes: tuple[str, ...] = ()


class RangeLostError(ExternalStepError):
    """An exporter that does not keep a range that was asked for."""


def export(
    model: str | TorchModel,
    path: str | os.PathLike[str],
    *,
    spec: Spec | None = None,
    exporter: Exporter = "dynamo",
    opset: int | None = None,
    input_names: Sequence[str] | None = None,
    output_names: Sequence[str] | None = None,
    force: bool = False,
) -> Export:
    """Export a PyTorch module to an ONNX file whose nodes know their source lines.

    Args:
        model: ``file.py:name``, ``pkg.module:name`` or a
            :class:`~tripoint.sources.python.TorchModel`.
        path: The ONNX file to write; large weights go to ``<path>.data`` beside it.
        spec: Shapes, ranges and dtypes of the inputs; inputs that it leaves out are taken from
            the examples of the module.
        exporter: PyTorch's graph capture (``"dynamo"``) or its tracer (``"torchscript"``). Where
            its graph does not follow a range, see :mod:`tripoint.sources.held`, and that of the
            other does, the file is the other's, and a note says so.
        opset: Opset to export, by default the exporter's choice.
        input_names: Names for the inputs in the file, in the order of ``forward``.
        output_names: Names for what the module returns, in order; by default those of
            :mod:`tripoint.sources.flatten`.
        force: Whether existing files may be replaced.

    Raises:
        UsageError: If the reference is not one to PyTorch code, or the inputs do not fit.
        InputError: If the code raises, or returns something that is not made of tensors.
        ExternalStepError: If the exporter refuses.
        RangeLostError: If no exporter keeps a range.
        OutputError: If the file exists without ``force``, or cannot be written.
    """
    model, path = as_torch(model), Path(path)
    files.refuse_overwrite(path, force=force)
    plan = plan_inputs(model, spec or Spec())
    names = _output_names(model, plan, output_names)
    notes = model.notes
    if exporter == "dynamo" and _is_script(model):
        exporter = "torchscript"
        notes += (
            "the module is one of TorchScript, which only the torchscript exporter takes: it made "
            "the graph (--exporter torchscript)",
        )
    try:
        exported, log, held = _checked(model, plan, exporter, names, opset)
    except RangeLostError as lost:
        if _is_script(model):
            raise
        exporter = "torchscript" if exporter == "dynamo" else "dynamo"
        try:
            exported, log, held = _checked(model, plan, exporter, names, opset)
        except TripointError as error:
            raise _lost_by_both(lost, error, exporter) from error
        if held.followed != plan.symbols.keys():
            raise lost
        notes += (
            f"{lost.fact}; so the graph is that of the {exporter} exporter, which follows the "
            f"range (--exporter {exporter})",
        )
    if input_names is not None:
        normalize.name_inputs(exported, input_names)
    saved = models.save(Model(exported), path, force=force)
    notes += (*held.notes, *_baked_in(log))
    return Export(saved, plan.symbols, plan.tensors, names, log.text, exporter, notes)


def _baked_in(log: Captured) -> Iterator[str]:
    """Lines at which the tracer kept a value of the example, by PyTorch's TracerWarning."""
    places = dict.fromkeys(
        (f"{shown_path(each.filename)}:{each.lineno}", " ".join(str(each.message).split()))
        for each in log.warnings
        if each.category.__name__ == "TracerWarning"
        and not Frame(each.filename, each.lineno, "").in_torch
    )
    for place, said in list(places)[:_BAKED_IN]:
        what = "a value of the example is baked in"
        if "Python boolean" in said:
            what = "a Python branch on tensor values is baked in as the example takes it"
        yield f"{place}: {what} (TracerWarning: {said.partition('. ')[0]})"
    if len(places) > _BAKED_IN:
        yield f"{len(places) - _BAKED_IN} more lines with a TracerWarning; --debug lists them"


def _is_script(model: TorchModel) -> bool:
    import torch

    return isinstance(model.module, torch.jit.ScriptModule)


def _checked(
    model: TorchModel,
    plan: InputPlan,
    exporter: Exporter,
    names: Sequence[str],
    opset: int | None,
) -> tuple[ir.Model, Captured, held.Held]:
    """Return what an exporter gives, its log, and what is known of the ranges.

    Raises:
        RangeLostError: If it does not follow one.
    """
    exported, log = _run(model, plan, exporter, names, opset)
    _check_opset(exported, opset, exporter)
    _check_interface(exported, plan, names, exporter)
    normalize.drop_invented_dims(exported, plan.symbols)
    ranges.record(exported, plan.symbols)
    result = held.check(Model(exported), model, plan)
    if result.stayed:
        first, more = result.stayed[0], [each.symbol for each in result.stayed[1:]]
        others = f" (and so did {', '.join(more)})" if more else ""
        raise RangeLostError(
            f"{first}{others}",
            hint=f"give it as it is, {first.symbol} = {first.size}, or mend forward: a loop over "
            "a size, or Python's int() of one, is written for the example only",
        )
    return exported, log, result


def trace(
    model: TorchModel, spec: Spec, *, exporter: Exporter, opset: int | None = None
) -> ir.Model:
    """The graph that an exporter makes of a module today, in memory.

    Whether it keeps the ranges is not looked at.

    Args:
        model: As :func:`export` takes it.
        spec: As :func:`export` takes it.
        exporter: As :func:`export` takes it.
        opset: As :func:`export` takes it.

    Raises:
        UsageError: If the inputs do not fit the module.
        InputError: If ``forward`` raises or returns something that is not made of tensors.
        ExternalStepError: If the exporter refuses.
    """
    plan = plan_inputs(model, spec)
    exported, _ = _run(model, plan, exporter, _output_names(model, plan, None), opset)
    return exported


def _run(
    model: TorchModel,
    plan: InputPlan,
    exporter: Exporter,
    names: Sequence[str],
    opset: int | None,
) -> tuple[ir.Model, Captured]:
    run = _dynamo if exporter == "dynamo" else _torchscript
    with captured() as log:
        try:
            with _flat_forward(model, list(plan.tensors)):
                exported = run(model, plan, names, opset)
        except (TripointError, KeyboardInterrupt):
            raise
        except Exception as error:
            raise _refusal(error, exporter) from error
    normalize.restore_inputs(exported, plan)
    normalize.keep_sources(exported)
    return exported, log


def _lost_by_both(lost: RangeLostError, other: TripointError, exporter: str) -> RangeLostError:
    """Return the error for a range that the other exporter does not keep either."""
    if isinstance(other, RangeLostError):
        why = f"the {exporter} exporter was tried, too, and does not keep it either"
    else:
        why = f"the {exporter} exporter was tried, too, and fails: {other.fact}"
    return RangeLostError(f"{lost.fact}; {why}", hint=lost.hint)


def _dynamo(
    model: TorchModel, plan: InputPlan, names: Sequence[str], opset: int | None
) -> ir.Model:
    import torch

    dims = {
        symbol: torch.export.Dim(symbol, min=bounds.min, max=bounds.max)
        for symbol, bounds in plan.symbols.items()
    }
    shapes = {
        name: {axis: dims[symbol] for axis, symbol in plan.dynamic_axes(name).items()}
        for name in plan.tensors
    }
    program = torch.onnx.export(
        model.module,
        tuple(copies(plan.tensors).values()),
        dynamo=True,
        dynamic_shapes=shapes if plan.symbols else None,
        input_names=list(plan.tensors),
        output_names=list(names),
        opset_version=opset,
        optimize=True,
        verbose=False,
    )
    if program is None:
        raise ExternalStepError("the exporter gave no program back")
    return program.model


def capture(
    model: TorchModel,
    tensors: Mapping[str, Tensor],
    dims: Mapping[str, Sequence[int | str]],
    ranges: Mapping[str, tuple[int, int]],
) -> torch.export.ExportedProgram:
    """The graph that the dynamo exporter translates, whose nodes it names in the metadata.

    Args:
        model: The module.
        tensors: A tensor by input name.
        dims: Per input and axis a fixed size, or a symbol for one that is dynamic.
        ranges: Smallest and largest size by symbol; the graph may differ with them, since an
            operation that does nothing within them is left out. One that is absent is unknown.

    Raises:
        ExternalStepError: If the exporter refuses.
    """
    import torch

    named = {
        symbol: torch.export.Dim(symbol, min=low, max=high)
        for symbol, (low, high) in ranges.items()
        if low < high
    }
    shapes = {
        name: {
            axis: named.get(dim, torch.export.Dim.AUTO)
            for axis, dim in enumerate(sizes)
            if isinstance(dim, str)
        }
        for name, sizes in dims.items()
    }
    if _is_script(model):
        raise ExternalStepError("the dynamo exporter takes no module of TorchScript")
    with captured():
        try:
            with _flat_forward(model, list(tensors)):
                program = torch.onnx.export(
                    model.module,
                    tuple(copies(tensors).values()),
                    dynamo=True,
                    dynamic_shapes=shapes if any(shapes.values()) else None,
                    optimize=False,
                    verbose=False,
                )
        except KeyboardInterrupt:
            raise
        except Exception as error:
            raise _refusal(error, "dynamo") from error
    if program is None or program.exported_program is None:
        raise ExternalStepError("the dynamo exporter gave no graph back")
    return program.exported_program


def _torchscript(
    model: TorchModel, plan: InputPlan, names: Sequence[str], opset: int | None
) -> ir.Model:
    import torch

    with tempfile.TemporaryDirectory(prefix="tripoint-") as folder, torch.no_grad():
        path = Path(folder) / "model.onnx"
        tensors = copies(plan.tensors)
        inputs: tuple[Any, ...] = tuple(tensors.values())
        if _is_script(model):
            inputs = tuple(model.arguments.bind(tensors)[0])
        torch.onnx.export(
            model.module,
            inputs,
            str(path),
            dynamo=False,
            dynamic_axes={name: plan.dynamic_axes(name) for name in plan.tensors},
            input_names=list(plan.tensors),
            output_names=list(names),
            opset_version=opset,
            # Without it the exporter strips the stack traces.
            verbose=True,
        )
        exported = ir.load(path)
        ir.external_data.load_to_model(exported)
    if _is_script(model):
        _keep_constants(exported, model, names=plan.tensors)
    return exported


def _keep_constants(exported: ir.Model, model: TorchModel, *, names: Collection[str]) -> None:
    """Make initializers of the numbers among the parameters of a module of TorchScript.

    The exporter makes inputs of them, ``scale.1`` for ``scale``, with and without a default.
    """
    values = {
        p.name: model.arguments.templates.get(p.name, p.default) for p in model.arguments.parameters
    }
    graph = exported.graph
    for value in [each for each in graph.inputs if each.name not in names]:
        number = values.get((value.name or "").partition(".")[0])
        if isinstance(number, (bool, int, float)) and value.dtype is not None:
            graph.inputs.remove(value)
            array = np.array(number, dtype=value.dtype.numpy())
            value.const_value = ir.tensor(array, name=value.name)
            value.shape = ir.Shape([])
            graph.register_initializer(value)


@contextmanager
def _flat_forward(model: TorchModel, names: Sequence[str]) -> Iterator[None]:
    """Let ``forward`` take exactly these inputs by position and return a tuple of tensors.

    The exporters order the entries of a dict differently, refuse plain dataclasses, and one
    cannot pass arguments by keyword. A module of TorchScript takes its inputs by position, and no
    other ``forward``.
    """
    module = model.module
    if _is_script(model):
        yield
        return
    original: Callable[..., Any] = module.forward

    @functools.wraps(original)
    def forward(*tensors: Tensor) -> Any:
        args, named = model.arguments.bind(dict(zip(names, tensors, strict=True)))
        outputs = tuple(flatten(original(*args, **named)).values())
        return outputs if len(outputs) > 1 else outputs[0]

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    vars(forward)["__signature__"] = inspect.Signature(
        [inspect.Parameter(name, kind) for name in names]
    )
    shadowed = vars(module).get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if shadowed is None:
            del module.forward
        else:
            module.forward = shadowed


def _output_names(
    model: TorchModel, plan: InputPlan, output_names: Sequence[str] | None
) -> tuple[str, ...]:
    import torch

    try:
        with torch.no_grad(), captured():
            value = model(plan.tensors)
    except Exception as error:
        shapes = ", ".join(
            f"{name} {str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"
            for name, tensor in plan.tensors.items()
        )
        raise InputError(
            f"forward failed with {shapes}: {describe_failure(error)}",
            hint="give other shapes with --input, or mend the module",
        ) from error
    names = tuple(flatten(value))
    if output_names is not None:
        if len(output_names) != len(names):
            raise UsageError(f"{len(output_names)} output names for {len(names)} outputs")
        names = tuple(output_names)
    clash = [name for name in names if name in plan.tensors]
    if clash:
        raise UsageError(
            f"output {clash[0]!r} has the name of an input",
            hint="ONNX needs different names: rename one, or give --output-names",
        )
    return names


def _check_opset(exported: ir.Model, asked: int | None, exporter: Exporter) -> None:
    # Where it cannot convert, the exporter warns and writes another opset.
    got = Model(exported).opset
    if asked is not None and got != asked:
        raise ExternalStepError(
            f"the {exporter} exporter wrote opset {got} instead of {asked}",
            hint="leave --opset out, ask for that one, or try the other exporter",
        )


def _check_interface(
    exported: ir.Model, plan: InputPlan, outputs: Sequence[str], exporter: Exporter
) -> None:
    graph = exported.graph
    for kind, values, expected in (
        ("inputs", graph.inputs, list(plan.tensors)),
        ("outputs", graph.outputs, list(outputs)),
    ):
        returned = [value.name for value in values]
        if returned != expected:
            raise ExternalStepError(
                f"the {exporter} exporter gave the {kind} {returned} instead of {expected}"
            )
    for value in graph.inputs:
        dims = truth.shape_of(value) or ()
        for axis, (asked, got) in enumerate(zip(plan.dims[value.name or ""], dims, strict=True)):
            if asked != got:
                raise RangeLostError(
                    f"axis {axis} of input {value.name} was to be {_described(asked, plan)}, "
                    f"but forward makes it {got}",
                    hint="a size in forward is a constant or belongs to another dimension; "
                    "mend it, or give this dimension as it is",
                )


def _described(dim: int | str, plan: InputPlan) -> str:
    return f"{dim}={plan.symbols[dim]}" if isinstance(dim, str) else str(dim)


def _refusal(error: BaseException, exporter: Exporter) -> ExternalStepError:
    """Return the error at the bottom of torch's chain of exceptions, without the rest."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = str(error)
    core, _, fixes = text.partition("Suggested fixes:")
    lines = [_ADVICE.sub("", line).strip() for line in core.strip().split("\n\n")[0].splitlines()]
    fact = " ".join([line for line in lines if line][:_FACT_LINES])
    own = [frame for frame in parse_frames(text) if not frame.in_library]
    place = f" ({shown_path(own[-1].file)}:{own[-1].line})" if own else ""
    suggestion = "; ".join(line.strip() for line in fixes.splitlines() if line.strip())
    other = "torchscript" if exporter == "dynamo" else "dynamo"
    lost = _SPECIALIZED.search(text) is not None
    kind = RangeLostError if lost else ExternalStepError
    return kind(
        f"the {exporter} exporter refuses: {type(error).__name__}: {fact}{place}",
        hint=f"torch suggests {suggestion}" if suggestion else f"try --exporter {other}",
    )
