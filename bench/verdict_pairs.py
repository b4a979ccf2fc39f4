"""Pairs of a model and a twin, and what is said of each; see ``bench/verdicts.py``."""

from __future__ import annotations

import itertools
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import torch

import verdict_exports
import verdict_more  # noqa: F401  (adds its models to the list)
from tripoint.numeric.inputs import inputs_of
from tripoint.parity import legs
from tripoint.parity import points as choice
from tripoint.parity.compare_legs import compare_legs
from tripoint.parity.legs.onnxruntime import OnnxRuntimeLeg
from verdict_faults import FAULTS
from verdict_legs import How, Leg, NodeByNode, Runtime, reference
from verdict_models import Kind
from verdict_net import DTYPES, Net, converted, model_of
from verdict_twins import REARRANGED, Twin, weight_off, weights

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]
Compute = Callable[[Arrays], Arrays]
BATCHES = (1, 2, 3)
EPSILONS = {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}
GRADES = (3.0, 6.0, 12.0)
"""Sizes of faults that are made to measure."""
PRODUCTS = ("MatMul", "Gemm", "Conv", "ConvTranspose", "Einsum")
SMALLEST = 1e-3
"""Faults that change less, in legitimate errors, are none."""
SAME = 1e-9
"""What two graphs of one function differ by in float64, at most, as a share of a typical number."""


@dataclass
class Pair:
    """A model and a twin.

    Args:
        model: Name of the model.
        group: What kind of model it is.
        dtype: Its element type.
        twin: What kind of twin it is.
        what: What it is in particular.
        leg: How the twin was computed.
        right: Whether it is the same function.
        size: Size of the fault in legitimate errors, None for a right twin; infinite where integers
            or the places of NaN and infinities differ.
        error: Largest error of a right twin in legitimate errors of the other right ones.
        verdict: What tripoint says.
        excess: Largest difference as a multiple of what tripoint allows.
        allowed: Absolute part of that, where it occurs.
        polygraphy: Whether Polygraphy's default comparison passes.
        assert_close: Whether ``torch.testing.assert_close`` passes.
        reasons: Why, in words.
    """

    model: str
    group: str
    dtype: str
    twin: str
    what: str
    leg: str
    right: bool
    size: float | None
    verdict: str
    excess: float
    allowed: float
    polygraphy: bool
    assert_close: bool
    legitimate: dict[str, list[float]] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)


class Bench:
    """One model in one element type, and its twins.

    Args:
        kind: The model.
        dtype: The element type.
    """

    def __init__(self, kind: Kind, dtype: str) -> None:
        self.kind, self.dtype = kind, dtype
        proto = kind.make(Net(kind.name, kind.opset)).proto()
        self.proto = proto if dtype == "float32" else converted(proto, DTYPES[dtype])
        self.model = model_of(self.proto)
        self.specs = inputs_of(self.model)
        self.leg = OnnxRuntimeLeg(self.model)
        symbols = {dim for _, shape in self.specs.values() for dim in shape if isinstance(dim, str)}
        sizes = [dict.fromkeys(symbols, batch) for batch in BATCHES]
        self.points = choice.made_up(self.model, self.specs, sizes).points
        self.random = np.random.default_rng(len(kind.name) + 7 * len(dtype))
        plain = Runtime(self.proto, optimized=False)
        self.plain = [plain(point.inputs) for point in self.points]
        exact = reference(self.proto)
        self.exact = [exact(point.inputs) for point in self.points]
        self.trace = self._trace(exact)
        self.labels = [
            {name: self._labels(array) for name, array in each.items()} for each in self.exact
        ]
        self.floor = self._floor()

    def _trace(self, exact: NodeByNode) -> dict[str, Array]:
        if any(each.HasField("g") for node in self.proto.graph.node for each in node.attribute):
            return {}
        return exact.trace(self.points[-1].inputs)

    def _labels(self, array: Array) -> Array:
        """The kind of number that each element is: along an axis, and whether of a mask."""
        made = np.zeros(array.shape, np.intp)
        for axis, starts in self.kind.kinds:
            index = np.searchsorted(starts, np.arange(array.shape[axis]), side="right")
            made = made + index.reshape([-1 if each == axis else 1 for each in range(array.ndim)])
        if self.kind.masked is not None and array.dtype.kind == "f":
            made = made * 2 + (np.abs(array) > self.kind.masked)
        return made

    def _floor(self) -> dict[str, Array]:
        """Half an epsilon of a typical element, by output and part."""
        made = {}
        for name, array in self.exact[0].items():
            if array.dtype.kind != "f":
                continue
            joined = np.concatenate([np.abs(each[name]).ravel() for each in self.exact])
            labels = np.concatenate([each[name].ravel() for each in self.labels])
            typical = np.zeros(int(labels.max(initial=0)) + 1)
            for part in range(typical.size):
                inside = joined[(labels == part) & np.isfinite(joined)]
                most = inside.max(initial=0.0)
                scaled = inside / most if most else inside
                typical[part] = most * math.sqrt(np.mean(scaled**2)) if inside.size else 0.0
            made[name] = 0.5 * EPSILONS[self.dtype] * typical
        return made

    def errors(self, outputs: Sequence[Arrays]) -> dict[str, Array]:
        """The largest difference from float64, by output and part."""
        made = {name: np.zeros_like(array) for name, array in self.floor.items()}
        for exact, found, labels in zip(self.exact, outputs, self.labels, strict=True):
            for name, most in made.items():
                off = difference(found[name], exact[name])
                np.maximum.at(most, labels[name].ravel(), off.ravel())
        return made

    def unit(self, runs: Sequence[Sequence[Arrays]]) -> dict[str, Array]:
        """Legitimate errors by output and part, of some right runs over all points."""
        errors = [self.errors(outputs) for outputs in runs]
        return {
            name: np.maximum(floor, np.max([each[name] for each in errors], axis=0))
            for name, floor in self.floor.items()
        }

    def size(self, outputs: Sequence[Arrays], legitimate: Mapping[str, Array]) -> float:
        """The size of a fault in units of legitimate errors."""
        size = 0.0
        for exact, found in zip(self.exact, outputs, strict=True):
            for name, array in exact.items():
                if name not in found or found[name].shape != array.shape:
                    return math.inf
                if name not in legitimate and not np.array_equal(array, found[name]):
                    return math.inf
                if name in legitimate and not same_holes(array, found[name]):
                    return math.inf
        for name, most in self.errors(outputs).items():
            unit = legitimate[name]
            size = max(size, float((most[unit > 0] / unit[unit > 0]).max(initial=0.0)))
            if (most[unit == 0] > 0).any():
                return math.inf
        return size

    def judged(
        self, twin: str, what: str, how: str, compute: Compute, *, tf32: bool = False
    ) -> Pair:
        """A pair of the model and a right twin."""
        outputs = [compute(point.inputs) for point in self.points]
        return self.judged_leg(twin, what, how, Leg(compute, tf32=tf32), outputs)

    def judged_leg(
        self, twin: str, what: str, how: str, leg: legs.Leg, outputs: Sequence[Arrays]
    ) -> Pair:
        """The same of any leg.

        Args:
            twin: What kind of twin it is.
            what: What it is in particular.
            how: How it is computed.
            leg: What computes it.
            outputs: What it computes at the points.
        """
        found = compare_legs(self.model, self.specs, [self.leg, leg], self.points)
        entries = [entry for point in found.points for entry in point.outputs]
        worst = max(entries, key=lambda entry: entry.excess or 0.0, default=None)
        return Pair(
            *(self.kind.name, self.kind.group, self.dtype, twin, what, how),
            right=True,
            size=None,
            verdict=found.verdict,
            excess=worst.excess or 0.0 if worst else 0.0,
            allowed=worst.tolerance.atol if worst and worst.tolerance else 0.0,
            polygraphy=all(map(polygraphy, self.plain, outputs)),
            assert_close=all(map(assert_close, self.plain, outputs)),
            reasons=list(found.reasons),
        )


def difference(found: Array, exact: Array) -> Array:
    """Absolute differences; 0 where both are the same infinity or NaN."""
    wide = found.astype(np.float64)
    both = np.isfinite(wide) & np.isfinite(exact)
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(both, np.abs(wide - exact), 0.0)


def same_holes(a: Array, b: Array) -> bool:
    """Whether NaN and infinities are the same."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    infinite = np.isinf(a) | np.isinf(b)
    return bool((np.isnan(a) == np.isnan(b)).all() and (a[infinite] == b[infinite]).all())


def polygraphy(a: Arrays, b: Arrays) -> bool:
    """``CompareFunc.simple()`` of Polygraphy 0.53.6 with its defaults.

    An element is off if its absolute and its relative difference are above 1e-5.
    """
    for name, first in a.items():
        if name not in b or b[name].shape != first.shape:
            return False
        x, y = (np.asarray(each).astype(np.float64) for each in (first, b[name]))
        with np.errstate(all="ignore"):
            absolute = np.abs(x - y)
            relative = absolute / np.abs(np.where(y == 0, 2.220446049250313e-16, y))
        off = ((absolute > 1e-5) | np.isnan(absolute)) & ((relative > 1e-5) | np.isnan(relative))
        if off.any():
            return False
    return True


def assert_close(a: Arrays, b: Arrays) -> bool:
    """``torch.testing.assert_close`` with its defaults."""
    for name, first in a.items():
        if name not in b:
            return False
        try:
            torch.testing.assert_close(_tensor(b[name]), _tensor(first))
        except AssertionError:
            return False
    return True


def _tensor(array: Array) -> torch.Tensor:
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.astype(np.float32)).to(torch.bfloat16)
    return torch.from_numpy(np.array(array))


def compare(kind: Kind, dtype: str, most: int | None = None) -> list[Pair]:
    """All pairs of one model, or with that many faults of a file."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    bench = Bench(kind, dtype)
    twins = right_legs(bench)
    units = units_of(bench, twins)
    rows: list[Pair] = []
    for (twin, what, compute), tf32 in twins:
        rows.append(bench.judged(twin, what, twin, compute, tf32=tf32))
    for number, fault in enumerate(faults(bench, units, most)):
        rows += wrong(bench, *fault, units[fault[2]], number)
    for row in rows:
        unit = units["TF32" in row.leg]
        row.legitimate = {name: each.tolist() for name, each in unit.items()}
    return rows


Named = tuple[str, str, Compute]
"""Kind of twin, which one, and what computes it."""


def units_of(bench: Bench, twins: Sequence[tuple[Named, bool]]) -> dict[bool, dict[str, Array]]:
    """Legitimate errors by output and part, without TF32 and with it."""
    units = {}
    for tf32 in (False, True):
        computes = [compute for (_, _, compute), is_tf32 in twins if is_tf32 == tf32]
        runs = [[compute(point.inputs) for point in bench.points] for compute in computes]
        units[tf32] = bench.unit([bench.plain, *runs])
    return units


def right_legs(bench: Bench) -> list[tuple[Named, bool]]:
    """The right twins, and whether each computes products of TF32."""
    proto = bench.proto
    made: list[tuple[Named, bool]] = [
        (("ONNX Runtime, optimized", "", Runtime(proto)), False),
        ((How.KERNELS.value, "", NodeByNode(proto)), False),
    ]
    if bench.dtype == "float32":
        made.append(((How.SEQUENTIAL.value, "", NodeByNode(proto, how=How.SEQUENTIAL)), False))
        if any(node.op_type in PRODUCTS for node in proto.graph.node):
            short = [(how.value, "", NodeByNode(proto, how=how)) for how in (How.TF32, How.CUT)]
            made += [(each, True) for each in short]
    if bench.kind.name in verdict_exports.MODULES:
        other = verdict_exports.exported(bench.kind.name).other()
        made.append((("other exporter", "", Runtime(other, optimized=False)), False))
    for name, rearrange in REARRANGED.items():
        changed = rearrange(proto) if bench.dtype == "float32" else None
        if changed is not None and is_same(bench, changed):
            made.append(((name, "", Runtime(changed, optimized=False)), False))
    return made


def is_same(bench: Bench, proto: onnx.ModelProto) -> bool:
    """Whether a graph is the same function in float64."""
    run = reference(proto)
    outputs = [run(point.inputs) for point in bench.points]
    unit = {
        name: SAME * floor / (0.5 * EPSILONS[bench.dtype]) for name, floor in bench.floor.items()
    }
    return bench.size(outputs, unit) <= 1.0


Offset = tuple[str, int, float]
"""Output, element and what is added to it."""
Fault = tuple[Twin, Offset | None, bool]
"""The graph, what is added to its outputs, and whether its products are of TF32."""


def faults(
    bench: Bench, units: Mapping[bool, Mapping[str, Array]], most: int | None = None
) -> Iterator[Fault]:
    """The wrong twins of a model, or that many, besides those that are made to measure."""
    has_products = any(node.op_type in PRODUCTS for node in bench.proto.graph.node)
    tf32 = bench.dtype == "float32" and has_products
    made = [
        twin
        for maker in (FAULTS if bench.trace else ())
        for twin in maker(bench.proto, bench.trace, bench.random)
    ]
    if most is not None:
        made = [made[index] for index in bench.random.permutation(len(made))[:most]]
    for number, twin in enumerate(made):
        rounded = tf32 and number % 4 == 3 and twin.kind != "lower precision"
        yield twin, None, rounded
    names = weights(bench.proto) if bench.dtype != "bfloat16" else []
    for rounded, grade in itertools.product(
        (False, True) if tf32 else (False,), GRADES if most is None else GRADES[1:2]
    ):
        unit = units[rounded]
        name = names[int(bench.random.integers(len(names)))] if names else None
        one = graded(bench, name, grade, unit) if name else None
        if one is not None:
            yield one, None, rounded
        offset = element(bench, grade, unit)
        if offset is not None:
            what = f"element {offset[1]} of {offset[0]} off by {grade:g} legitimate errors"
            yield Twin("one element", what, bench.proto), offset, rounded


def element(bench: Bench, grade: float, unit: Mapping[str, Array]) -> Offset | None:
    """One element of an output off by so many legitimate errors."""
    floats = [name for name in unit if bench.exact[0][name].size]
    if not floats:
        return None
    name = floats[int(bench.random.integers(len(floats)))]
    exact = bench.exact[0][name]
    at = int(bench.random.integers(exact.size))
    legitimate = float(unit[name][bench.labels[0][name].flat[at]])
    if not np.isfinite(exact.flat[at]) or not legitimate:
        return None
    return name, at, grade * legitimate


def graded(bench: Bench, name: str, grade: float, unit: Mapping[str, Array]) -> Twin | None:
    """One weight off by so much that the outputs are by so many legitimate errors."""
    tensor = next(each for each in bench.proto.graph.initializer if each.name == name)
    array = onnx.numpy_helper.to_array(tensor).astype(np.float64)
    at = int(bench.random.integers(array.size))
    delta = 1e-3 * float(np.sqrt(np.mean(array**2)))
    for _ in range(3):
        made = weight_off(bench.proto, name, at, delta)
        run = reference(made)
        size = bench.size([run(point.inputs) for point in bench.points], unit)
        if not 0 < size < math.inf:
            return None
        if 0.9 < size / grade < 1.1:
            break
        delta *= grade / size
    return Twin("one weight", f"{name} element {at} off by {delta:.2g}", made)


def wrong(
    bench: Bench,
    twin: Twin,
    offset: Offset | None,
    tf32: bool,
    unit: Mapping[str, Array],
    number: int,
) -> list[Pair]:
    """A wrong twin, judged; none where the fault changes nothing."""
    # What is stored in float16 would be read in full by a runtime that leaves the casts out.
    optimized = number % 2 == 1 and twin.kind != "lower precision"
    try:
        plain = Runtime(twin.proto, optimized=False)
        for point in bench.points:
            plain(point.inputs)
    except Exception as error:  # noqa: BLE001, ONNX Runtime has a class of its own for each failure
        # A fault with which nothing runs shows by itself.
        print(f"{bench.kind.name} {twin.kind} {twin.what}: {error}"[:300], file=sys.stderr)
        return []
    leg = "ONNX Runtime"
    compute: Compute = plain
    if tf32:
        leg, compute = How.TF32.value, NodeByNode(twin.proto, how=How.TF32)
    elif optimized:
        leg, compute = "ONNX Runtime, optimized", Runtime(twin.proto)
    exact: Compute = plain if twin.kind == "lower precision" else reference(twin.proto)
    if offset is not None:
        compute, exact = spoiled(compute, offset), spoiled(exact, offset)
    size = bench.size([exact(point.inputs) for point in bench.points], unit)
    if size < SMALLEST:
        return []
    pair = bench.judged(twin.kind, twin.what, leg, compute, tf32=tf32)
    pair.right, pair.size = False, size
    return [pair]


def spoiled(compute: Compute, offset: Offset) -> Compute:
    """A leg of which one element of an output is off."""
    name, at, added = offset

    def run(inputs: Arrays) -> Arrays:
        outputs = {key: np.array(array) for key, array in compute(inputs).items()}
        array = outputs[name]
        if at < array.size:
            array.flat[at] = array.dtype.type(float(array.flat[at]) + added)
        return outputs

    return run
