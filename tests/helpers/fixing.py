"""What must hold of every fixed model, whatever was rewritten."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
import onnx_ir as ir

import tripoint
from tests.helpers.execution import NodeCase
from tests.helpers.graphs import to_bytes
from tripoint import model as models
from tripoint.errors import ExternalStepError, TripointError
from tripoint.graph.names import node_name
from tripoint.model import Model
from tripoint.numeric import ort
from tripoint.numeric.reductions import longest_reduction, terms
from tripoint.rewrites.base import FixResult
from tripoint.shape_inference import truth

Feed = Mapping[str, Any]
"""What goes into each input: an array, or a list where it is a sequence."""

Feeds = Sequence[tuple[Mapping[str, int], Feed]]
"""Size of each symbol, and inputs of these sizes, run by run."""

Kind = Literal["changed", "unproven", "unsettled", "refused"]

SIGN_OF_ZERO = frozenset({"neutral-operand"})
"""Rewrites whose description says that they may change the sign of a zero."""

SAME_KERNELS = frozenset({"folded-constants", "common-subexpressions", "unread"})
"""Rewrites that leave sums to the same kernels, or compute them once instead of each time."""

HALF = frozenset({"float16", "bfloat16"})
"""ONNX Runtime computes most operators of these in float32 and rounds behind them, but not between
two that both are computed so: a node that is gone may move the rounding."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that must not be.

    Args:
        kind: ``"changed"``: the model is not the same function with the same interface any more,
            is not valid, has more lost dims, or comes out differently each time. ``"unproven"``:
            each rewrite was proven, but not the whole, so that nothing is kept. ``"unsettled"``:
            the result is not final, a second fix goes on. ``"refused"``: a rewrite was proposed
            and its proof failed, as it should where the rewrite is wrong.
        text: One sentence.
    """

    kind: Kind
    text: str


# What a model computes


def same(expected: Any, actual: Any, roundings: float = 0.0, *, signed: bool = True) -> bool:
    """Whether a result is another one, bit by bit or as near as is allowed.

    Args:
        expected: An array, a list of them, or None.
        actual: What is compared with it.
        roundings: Largest difference in units of the last place of the largest number.
        signed: Whether -0.0 and 0.0 are two numbers.
    """
    if expected is None or actual is None:
        return expected is None and actual is None
    if isinstance(expected, list | tuple):
        return len(expected) == len(actual) and all(
            same(a, b, roundings, signed=signed) for a, b in zip(expected, actual, strict=True)
        )
    a, b = np.asarray(expected), np.asarray(actual)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    if a.dtype.kind not in "fcV" or a.dtype.names:
        return bool(np.array_equal(a, b))
    if a.dtype.kind == "V":
        a, b = a.astype(np.float32), b.astype(np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        equal = (a == b) | (np.isnan(a) & np.isnan(b))
        if signed and not roundings and a.dtype.kind == "f":
            equal &= (np.signbit(a) == np.signbit(b)) | np.isnan(a)
        if equal.all():
            return True
        error = np.where(equal, 0.0, np.abs(a.astype(np.complex128) - b)).max()
        scale = max(1.0, float(np.abs(a[np.isfinite(a)]).max(initial=0.0)))
    return bool(error <= roundings * float(spacing(expected)) * scale)


def spacing(array: Any) -> float:
    """Spacing of the numbers at 1 in the type of an array."""
    import ml_dtypes

    return float(ml_dtypes.finfo(np.asarray(array).dtype).eps)


def roundings(result: FixResult, point: Mapping[str, int]) -> float:
    """How far results may be from those of the given model, in roundings.

    None, unless a rewrite replaced an operator that adds up: then the spread of as many roundings
    as the longest sum of the model has terms.
    """
    replaced = {
        name for each in result.applied if each.rewrite not in SAME_KERNELS for name in each.nodes
    }
    if not replaced:
        return 0.0
    before = result.facts_before.model.ir.clone()
    truth.annotate(before)
    if not any(node_name(node) in replaced and terms(node, point) for node in before.graph):
        return 0.0
    return 4 * math.sqrt(longest_reduction(before, point))


# Whether a fix kept what must be kept


def check(
    model: Model,
    feeds: Feeds,
    folder: Path,
    *,
    target: str,
    select: Sequence[str] | None = None,
    twice: bool = True,
) -> tuple[FixResult, list[Fault]]:
    """Fix a model without proving numbers, and look for what is wrong with the result.

    The proof of numbers is left out, so that it hides no wrong rewrite.

    Args:
        model: The model; it must run on all feeds.
        feeds: Where numbers are compared.
        folder: Where the result is written, to be run from there.
        target: Whose lost dims are counted.
        select: Names of the rewrites to try.
        twice: Whether to look as well for other bytes the second time, and for what a fix of the
            result does.
    """
    before = to_bytes(model)

    def fix(given: Model) -> FixResult:
        return tripoint.fix(given, target=target, select=select, numeric=False)

    result = fix(model)
    changed = [*_form(model, result), *_numbers(model, result, feeds, folder)]
    if to_bytes(model) != before:
        changed.append("the given model was changed")
    if twice and to_bytes(fix(model).model) != to_bytes(result.model):
        changed.append("a second fix of the same model gives other bytes")
    faults = [Fault("changed", text) for text in changed]
    if result.proof is not None and not result.proof.holds:
        faults.append(Fault("unproven", result.proof.reason))
    if twice:
        faults.extend(
            Fault("unsettled", f"{each.rewrite} at {', '.join(each.nodes) or each.tensor}")
            for each in fix(result.model).applied
        )
    faults.extend(
        Fault("refused", f"{each.rewrite} at {each.node}: {each.reason}")
        for each in result.refused
        if "the proof failed" in each.reason or "cannot be read" in each.reason
    )
    return result, faults


def _form(model: Model, result: FixResult) -> Iterator[str]:
    if interface(model) != interface(result.model):
        yield f"inputs and outputs were {interface(model)}, are {interface(result.model)}"
    if result.after.lost_dims > result.before.lost_dims:
        yield f"lost dims: {result.before.lost_dims} before, {result.after.lost_dims} after"
    if (invalid := _invalid(result.model)) and not _invalid(model):
        yield f"it is no valid ONNX any more: {invalid}"


def interface(model: Model) -> list[tuple[str | None, str, str]]:
    """Name, type and declared shape of the inputs, then of the outputs, in order."""
    values = [*model.ir.graph.inputs, *model.ir.graph.outputs]
    return [(value.name, str(value.type), str(value.shape)) for value in values]


def _invalid(model: Model) -> str:
    """What onnx.checker says against a model; empty if nothing."""
    try:
        onnx.checker.check_model(ir.to_proto(model.ir))
    except onnx.checker.ValidationError as error:
        return str(error).strip()
    return ""


def _numbers(model: Model, result: FixResult, feeds: Feeds, folder: Path) -> Iterator[str]:
    if not result.applied or not feeds:
        return
    reference = ort.Session(model)
    try:
        fixed = ort.Session(models.save(result.model, folder / "fixed.onnx", force=True))
    except TripointError as error:
        yield f"it does not load any more: {error}"
        return
    signed = not any(each.rewrite in SIGN_OF_ZERO for each in result.applied)
    outputs = model.ir.graph.outputs
    for point, feed in feeds:
        expected = reference.run(feed)
        try:
            actual = fixed.run(feed)
        except ExternalStepError as error:
            yield f"it does not run any more at {dict(point)}: {error}"
            continue
        for value, a, b in zip(outputs, expected, actual, strict=True):
            limit = roundings(result, point)
            if value.dtype is not None and value.dtype.name.lower() in HALF:
                limit = max(limit, 4.0)
            if not same(a, b, limit, signed=signed):
                yield f"`{value.name}` differs at {dict(point)} by more than {limit:.3g} roundings"


# The node tests of the onnx package


def posed(case: NodeCase, mode: str) -> tuple[Model, Mapping[str, int], Feed]:
    """A node test as a model with something to fix, the size of each symbol, and the inputs.

    Args:
        case: The test.
        mode: ``"fed"``: as it is. ``"constant"``: all but the first input of floats are constants.
            ``"symbolic"``: every size is a symbol, short integers are constants.
    """
    proto = onnx.ModelProto()
    proto.CopyFrom(case.model)
    declared = list(proto.graph.input)
    floats = [v.name for v in declared if v.type.tensor_type.elem_type == onnx.TensorProto.FLOAT]
    point: dict[str, int] = {}
    feed: dict[str, Any] = {}
    for index, (value, given) in enumerate(zip(declared, case.inputs, strict=True)):
        feed[value.name] = given
        if mode == "fed" or not isinstance(given, np.ndarray | np.generic):
            continue
        array = np.asarray(given)
        short = array.ndim <= 1 and array.size <= 8 and array.dtype.kind in "iub"
        if value.name not in floats[:1] if mode == "constant" else short:
            tensor = onnx.numpy_helper.from_array(array, value.name)
            proto.graph.initializer.append(tensor)
            proto.graph.input.remove(value)
            del feed[value.name]
        elif mode == "symbolic" and value.type.HasField("tensor_type"):
            dims = value.type.tensor_type.shape.dim
            del dims[:]
            for axis, size in enumerate(array.shape):
                point[f"s{index}_{axis}"] = size
                dims.add().dim_param = f"s{index}_{axis}"
    if mode == "symbolic":
        for value in proto.graph.output:
            for dim in value.type.tensor_type.shape.dim:
                dim.Clear()
    return Model(ir.from_proto(proto)), point, feed


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came out for a node test.

    Args:
        kind: ``"as expected"``: it runs, and gives what the test expects. ``"otherwise"``: it
            runs, and gives something else. ``"random"``: no two runs agree. ``"not run"``: ONNX
            Runtime does not have it, or it cannot be posed this way.
        result: The fix.
        faults: What is wrong with it.
    """

    kind: str
    result: FixResult
    faults: Sequence[Fault]


def node_fix(case: NodeCase, mode: str, target: str, folder: Path, *, twice: bool) -> Outcome:
    """Fix a node test, and see whether what it gave still comes out.

    Args:
        case: The test.
        mode: See :func:`posed`.
        target: Whose lost dims are counted.
        folder: Where files go.
        twice: See :func:`check`.
    """
    model, point, feed = posed(case, mode)
    feeds: Feeds = []
    try:
        session = ort.Session(model)
        found, again = session.run(feed), session.run(feed)
    except TripointError:
        kind = "not run"
    else:
        feeds = [(point, feed)] if same(found, again) else []
        kind = "random" if not feeds else "as expected" if _expected(case, found) else "otherwise"
    result, faults = check(model, feeds, folder, target=target, twice=twice)
    return Outcome(kind, result, faults)


def _expected(case: NodeCase, found: Sequence[Any]) -> bool:
    """Whether results are what a test expects, to within its own tolerance."""
    return all(_near(*pair) for pair in zip(case.outputs, found, strict=True))


def _near(expected: Any, actual: Any) -> bool:
    if isinstance(expected, list | tuple):
        return len(expected) == len(actual) and all(map(_near, expected, actual))
    a, b = np.asarray(expected), np.asarray(actual)
    if a.shape != b.shape or a.dtype.kind not in "fc":
        return same(expected, actual)
    return bool(np.allclose(a, b, rtol=1e-3, atol=1e-7, equal_nan=True))
