r"""Allowed distance of two correct results, derived from the graph.

Every operator rounds. With independent roundings of relative size eps, variances add up, so
along a path of operators the relative error of the result is about

    e = sqrt( sum over the path of  c · eps(dtype)²  +  p )

where, per operator,

* ``c`` is ``8 + n/24`` if it adds up n terms (Conv: channels/group · kernel, MatMul and Gemm: K,
  Reduce, pooling and normalization: the reduced sizes), 1 if it only computes element by
  element, and 0 if it only moves data; more for coordinates and transforms, see
  :mod:`tripoint.tolerance.arithmetic`. A rounding has the deviation eps/√12; where n terms of
  either sign are added up one after the other, each partial sum of k terms, √(k/n) as large as
  the result, is rounded, which makes n/2 · eps²/12. The 8 is for what vendors do besides: their
  own forms of the product (Winograd), and fast exponentials;
* eps(dtype) is the machine epsilon of what it produces, so a graph of mixed precision is charged
  each operator in its own precision. Of a type shorter than float32, sums are added up in float32,
  and only what is written is rounded to it: ``c`` is that of float32, and eps²/12 more;
* ``p`` is what a float32 product (Conv, MatMul, Gemm, Attention, recurrent operators) errs by
  besides on a GPU (:class:`Products`): ``(n/16 · eps)²`` on tensor cores, and ``eps(TF32)²/2``
  more where TF32 is on.

The path with the largest sum counts. The allowance is ``rtol = 8 · max(e, eps)``: both sides
round (√2), and the largest of a million deviations lies five to six standard deviations out.
Errors are relative to the size of a typical element, since terms cancel in small ones; hence
``atol = rtol · rms(part of the reference)`` and ``|difference| ≤ atol + rtol · |reference|``, where
numbers of another kind in the same output are another part (:mod:`tripoint.tolerance.parts`). That
is a bound, for when nothing was run; what a graph makes of its roundings,
:mod:`tripoint.parity.noise` measures, and :mod:`tripoint.tolerance.sensitivity` for graphs of which
that says nothing.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.graph.ops import RECURRENT
from tripoint.numeric.dtypes import epsilon as epsilon_of
from tripoint.numeric.inputs import Arrays
from tripoint.numeric.reductions import reduces, terms
from tripoint.shape_inference import truth
from tripoint.symbols import evaluate
from tripoint.tolerance.arithmetic import Kind, kind_of, own_variance
from tripoint.tolerance.described import Described
from tripoint.tolerance.parts import Parts, Seams, seams, split
from tripoint.tolerance.sharpen import Moved

Array = np.ndarray[Any, Any]

_FACTOR = 8.0
_MEASURED_FACTOR = 4.0
_ROUNDINGS = 2.0
"""What an output of a short type may differ by whatever was measured, in its epsilon."""
_LEAST = 1 / 16
"""Share of what was derived that is allowed whatever float64 says: half a deviation."""
_LEAST_MEASURED = 1 / 2
"""The same of what was measured: one and a half times what noise moves."""
_BLUNT = 0.5
_SHARP = 0.25
_PER_SUM = 8.0
_TERMS_PER_EPS = 24.0
_FLOAT32_EPS = 2.0**-23
_ONE_ROUNDING = 1 / 12
_REMEMBERED = 16
"""Steps of a recurrent operator whose roundings to a short type count. PyTorch rounds its state at
each; with the usual weights that costs LSTM, GRU and RNN as much in 20 steps as in 400, 0.3 to 0.7
eps, and up to 6 with three times as large ones, since gates forget."""
_TERMS_PER_CUT = 16.0
_TF32_EPS = 2.0**-10
_TF32_SHARE = 0.5
_SAID = ("TF32 off", "TF32 off on a GPU", "TF32 on")

Given = float | Mapping[str, float] | None
"""A number for all outputs, or one by output name."""


class Products(enum.IntEnum):
    """Ways to compute float32 products, from the smallest error to the largest.

    Measured on an H100 with TensorRT-RTX 1.6.1, single operators against float64 (root mean
    square, relative to that of the result): on tensor cores n/20 to n/7 eps for n terms without
    TF32, in proportion to n, since their sums are cut off and not rounded; 0.3 eps(TF32) with it,
    0.8 where the operands are cut off as well, whatever n is.
    """

    ROUNDED = 0
    """Sums round to the nearest, as on a CPU."""
    TENSOR_CORES = 1
    """Operands in parts of TF32, sums cut off."""
    TF32 = 2
    """Operands rounded to TF32, sums cut off."""


def products_of(legs: Iterable[Described]) -> Products:
    """The least precise products among some legs."""
    return max(
        (
            Products.TF32
            if leg.tf32
            else Products.ROUNDED
            if leg.device == "cpu"
            else Products.TENSOR_CORES
            for leg in legs
        ),
        default=Products.ROUNDED,
    )


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Tolerance: ``|difference| <= atol + rtol * |reference|``.

    Args:
        atol: Absolute part; the largest, where parts of the output have their own.
        rtol: Relative part.
        reason: Where the numbers come from.
        atols: Absolute part for each part of the output.
        parts: The parts of the output; None where the numbers were given, or for integers.
        least: Share of it that is allowed whatever float64 says; see :meth:`capped`.
    """

    atol: float
    rtol: float
    reason: str
    atols: tuple[float, ...] = ()
    parts: Parts | None = field(default=None, compare=False, repr=False)
    least: float = field(default=_LEAST, compare=False, repr=False)

    @property
    def absolute(self) -> float | Array:
        """The absolute part, for each element where parts have their own."""
        return self.atol if self.parts is None else self.parts.spread(self.each)

    def plus(self, atols: Sequence[float], reason: str) -> Tolerance:
        """The same with other absolute parts, one for each part of the output."""
        split = len(atols) > 1
        return replace(self, atol=max(atols), atols=tuple(atols) if split else (), reason=reason)

    def sharpened(self, atols: Sequence[float], eps: float) -> Tolerance:
        """Return the measured tolerance in place of the derived one.

        Args:
            atols: Absolute parts, one for each part of the output.
            eps: Machine epsilon of the output, of which half is allowed besides.
        """
        reason = f"3 times what noise as large as roundings was measured to move; {self.reason}"
        return replace(self.plus(atols, reason), rtol=eps / 2, least=_LEAST_MEASURED)

    def capped(self, limits: Sequence[float], times: float, eps: float) -> Tolerance:
        """The same with no more than a multiple of what the reference is off by from float64.

        Args:
            limits: That multiple, one for each part of the output. An epsilon of a typical
                element is allowed at least, and ``least`` of what was, where the reference is not
                exact: it may be off by little by chance.
            times: Which multiple it is.
            eps: Machine epsilon of the output, of which half is allowed besides.
        """
        scales = self.parts.scales if self.parts is not None else ()
        each = zip(limits, self.each, scales, strict=True)
        atols = [
            min(atol, max(limit, eps * scale, self.least * atol if limit else 0.0))
            for limit, atol, scale in each
        ]
        if atols == list(self.each):
            return self
        reason = f"{times:g} times what the reference is off by from float64; {self.reason}"
        # It is one for all parts.
        every = all(new < old for new, old in zip(atols, self.each, strict=True))
        return replace(self.plus(atols, reason), rtol=eps / 2 if every else self.rtol)

    @property
    def sharp(self) -> Tolerance:
        """The same where it tells a typical element from zero, else cut off so that it does.

        Agreement within a tolerance as large as the numbers themselves proves nothing.
        """
        if self.parts is None:
            return self
        limits = [_SHARP * scale for scale in self.parts.scales]
        blunt = any(
            atol + self.rtol * scale > _BLUNT * scale
            for atol, scale in zip(self.each, self.parts.scales, strict=True)
        )
        if not blunt:
            return self
        cut = [min(pair) for pair in zip(self.each, limits, strict=True)]
        return replace(self.plus(cut, self.reason), rtol=min(self.rtol, _SHARP))

    def visible(self, reference: Array) -> float:
        """The smallest fault of one element that is seen, as a share of a typical element.

        Args:
            reference: The output that this is the tolerance of; the part of it counts in which
                that is most.
        """
        sharp = self.sharp
        scales = sharp.parts.scales if sharp.parts is not None else split(reference).scales
        each = sharp.each if len(sharp.each) == len(scales) else sharp.each[:1] * len(scales)
        return max(atol / scale + sharp.rtol for atol, scale in zip(each, scales, strict=True))

    def arranged(self, how: Callable[[Array], Array]) -> Tolerance:
        """The tolerance for a reference whose elements were rearranged in some way."""
        return self if self.parts is None else replace(self, parts=self.parts.arranged(how))

    @property
    def each(self) -> tuple[float, ...]:
        """The absolute parts, one for each part of the output."""
        return self.atols or (self.atol,)


@dataclass(frozen=True, slots=True)
class Cost:
    """Measured cost of a lower precision in a part of an output.

    Args:
        size: Typical size of its elements.
        error: The largest error.
    """

    size: float
    error: float


@dataclass(frozen=True, slots=True)
class Chain:
    """The operators upstream of a tensor that round the most.

    Args:
        variance: Sum of ``c · eps²`` and ``p``, as the module explains.
        terms: Terms added up in all reductions of the path.
        reductions: Number of these reductions.
        others: Number of operators that compute element by element.
        coarsest: The least precise dtype among what they produce.
    """

    variance: float = 0.0
    terms: int = 0
    reductions: int = 0
    others: int = 0
    coarsest: np.dtype[Any] | None = None


Lifts = Mapping[str, Array] | Callable[[], Mapping[str, Array]] | None
"""What to allow for each element by output name, or what measures it."""
Rounding = Mapping[str, Sequence[Cost]]
"""By output name what a lower precision was measured to cost, for each part of the output."""


class Budget:
    """Tolerances for the outputs of one graph.

    Args:
        graph: Its values carry their true shapes (:func:`tripoint.shape_inference.truth.annotate`).
        atol: Absolute tolerance in place of the derived one.
        rtol: Relative tolerance in place of the derived one.
    """

    def __init__(self, graph: ir.Model, *, atol: Given = None, rtol: Given = None) -> None:
        self._graph = graph
        self._atol = atol
        self._rtol = rtol
        self._chains: dict[tuple[frozenset[tuple[str, int]], Products], dict[str, Chain]] = {}
        self._seams: dict[frozenset[tuple[str, int]], dict[str, dict[int, tuple[int, ...]]]] = {}
        self._shares: dict[tuple[str, Products], tuple[float, ...]] = {}

    def allowed(
        self,
        reference: Arrays,
        bindings: Mapping[str, int],
        *,
        products: Products = Products.ROUNDED,
        rounding: Rounding | None = None,
        noise: Mapping[str, Moved] | None = None,
        moved: Lifts = None,
        rounded: Mapping[str, Array | None] | None = None,
    ) -> dict[str, Tolerance]:
        """Return the tolerance of each output.

        What noise was measured to do to an output counts in the place of what is derived, and at
        other points as the same share of it.

        Args:
            reference: Array by output name; one that the graph does not have gets the epsilon
                of its dtype.
            bindings: Size of each input symbol.
            products: How the less precise side computes float32 products.
            rounding: What a lower precision of one side was measured to cost; see :func:`widen`.
            noise: What roundings move an output by; see :mod:`tripoint.parity.noise`.
            moved: What to allow for each element since it moves when the sums behind it err; see
                :func:`lift` and :mod:`tripoint.tolerance.sensitivity`. It counts for outputs of
                which noise says nothing; a function is called only if there are any.
            rounded: How far rounding to a type shorter than float32 moves each element, None if
                that is not known yet; see :func:`narrow` and :mod:`tripoint.parity.rounded`.
        """
        sizes = frozenset(bindings.items())
        if sizes not in self._seams:
            self._seams[sizes] = seams(self._graph, bindings)
        if (sizes, products) not in self._chains:
            self._chains[sizes, products] = chains(self._graph, bindings, products=products)
        behind = self._chains[sizes, products]
        tolerances = {}
        for name, array in reference.items():
            tolerance = derive(
                behind.get(name, Chain()),
                array,
                products=products,
                seams=self._seams[sizes].get(name),
            )
            if rounded is not None and name in rounded:
                tolerance = narrow(tolerance, behind.get(name, Chain()), array, rounded[name])
            tolerance = self._measured(name, tolerance, array, products, noise, moved)
            tolerance = widen(tolerance, (rounding or {}).get(name, ()))
            tolerances[name] = override(
                tolerance, atol=given_for(self._atol, name), rtol=given_for(self._rtol, name)
            )
        return tolerances

    def _measured(
        self,
        name: str,
        tolerance: Tolerance,
        array: Array,
        products: Products,
        noise: Mapping[str, Moved] | None,
        moved: Lifts,
    ) -> Tolerance:
        """A derived tolerance with what was measured in its place."""
        eps = epsilon_of(array.dtype)
        if tolerance.parts is None or eps is None:
            return tolerance
        key = (name, products)
        if noise is None and moved is None:
            shares = self._shares.get(key, ())
            if len(shares) != len(tolerance.each):
                return tolerance
            pairs = zip(shares, tolerance.each, strict=True)
            return tolerance.sharpened([share * atol for share, atol in pairs], eps)
        measured = (noise or {}).get(name)
        limits = None
        if measured is not None and measured.near.shape == array.shape:
            limits = measured.limits(tolerance.parts, eps)
        if limits is None:
            self._shares.pop(key, None)
            lifts = moved() if callable(moved) else moved
            return lift(tolerance, (lifts or {}).get(name))
        pairs = zip(limits, tolerance.each, strict=True)
        self._shares[key] = tuple(limit / atol for limit, atol in pairs)
        return tolerance.sharpened(limits, eps)


def chains(
    graph: ir.Model, bindings: Mapping[str, int], *, products: Products = Products.ROUNDED
) -> dict[str, Chain]:
    """The chain upstream of each graph output.

    Args:
        graph: Its values carry their true shapes.
        bindings: Size of each input symbol.
        products: How float32 products are computed.
    """
    worst: dict[ir.Value, Chain] = {}
    for node in graph.graph:
        behind = max(
            (worst[value] for value in node.inputs if value is not None and value in worst),
            key=lambda chain: chain.variance,
            default=Chain(),
        )
        for output in node.outputs:
            worst[output] = _extend(behind, node, output, bindings, products)
    return {value.name or "": worst.get(value, Chain()) for value in graph.graph.outputs}


def derive(
    chain: Chain,
    reference: Array,
    *,
    products: Products = Products.ROUNDED,
    seams: Seams | None = None,
) -> Tolerance:
    """The tolerance for one output.

    Args:
        chain: What lies behind it.
        reference: Its values; their dtype and typical size count.
        products: What ``chain`` was made for, for the reason text.
        seams: Where the graph says that parts of the output begin.
    """
    eps = epsilon_of(reference.dtype)
    if eps is None:
        return Tolerance(0.0, 0.0, "integers and booleans are exact")
    rtol = _FACTOR * max(math.sqrt(chain.variance), eps)
    parts = split(reference, seams, noise=rtol)
    coarser = chain.coarsest is not None and chain.coarsest != reference.dtype
    precision = f" with {chain.coarsest} behind it" if coarser else ""
    reason = (
        f"{reference.dtype.name}{precision}, {_SAID[products]}; "
        f"{chain.terms} terms in {chain.reductions} reductions and {chain.others} other operators "
        f"behind it; typical size {' and '.join(f'{scale:.2g}' for scale in parts.scales)}"
    )
    return Tolerance(0.0, rtol, reason, parts=parts).plus(
        [rtol * scale for scale in parts.scales], reason
    )


def narrow(
    tolerance: Tolerance, chain: Chain, reference: Array, rounded: Array | None
) -> Tolerance:
    """Allow for a short type no more than it was measured to cost, nor less than one rounding.

    Args:
        tolerance: The derived one.
        chain: What it was derived from.
        reference: The values of the output.
        rounded: How far rounding moved each element; the most in a part counts for all of it, and
            more where the part has few elements, which are off by little now and then by chance.
            None to keep to what one rounding deserves.

    Returns:
        ``tolerance`` itself if no type shorter than float32 lies behind the output.
    """
    coarsest = epsilon_of(chain.coarsest) if chain.coarsest is not None else None
    own = epsilon_of(reference.dtype)
    parts = tolerance.parts
    if coarsest is None or own is None or coarsest <= _FLOAT32_EPS or parts is None:
        return tolerance
    if rounded is not None and rounded.shape != reference.shape:
        return tolerance
    floor = _ROUNDINGS * own
    measured = [0.0] * len(parts.scales)
    if rounded is not None:
        most = zip(parts.chances(reference.size), parts.largest(rounded), strict=True)
        measured = [_MEASURED_FACTOR * chance * error for chance, error in most]
    limits = [max(floor * scale, most) for scale, most in zip(parts.scales, measured, strict=True)]
    if all(limit >= atol for limit, atol in zip(limits, tolerance.each, strict=True)):
        return tolerance
    atols = [min(pair) for pair in zip(tolerance.each, limits, strict=True)]
    said = f" and {_MEASURED_FACTOR:g} times what rounding moves it" if any(measured) else ""
    reason = f"{_ROUNDINGS:g} roundings{said}; {tolerance.reason}"
    return replace(tolerance.plus(atols, reason), rtol=min(tolerance.rtol, floor))


def widen(tolerance: Tolerance, costs: Sequence[Cost]) -> Tolerance:
    """Allow for a lower precision whose error was measured.

    An engine rounds the same results as the measurement, but in another order and at other points,
    so that its error is of that size, not that error.

    Args:
        tolerance: The derived one.
        costs: What was measured, for each part of the output. Where it has another number of parts
            now, what the part of the nearest size was measured to cost counts for each.
    """
    scales = tolerance.parts.scales if tolerance.parts is not None else (1.0,)
    if len(costs) != len(scales):
        costs = [costs[nearest(costs, scale)] for scale in scales] if costs else []
    if not any(cost.error for cost in costs):
        return tolerance
    errors = [cost.error for cost in costs]
    said = " to ".join(f"{error:.2g}" for error in dict.fromkeys((min(errors), max(errors))))
    return tolerance.plus(
        [
            atol + _MEASURED_FACTOR * error
            for atol, error in zip(tolerance.each, errors, strict=True)
        ],
        f"{tolerance.reason}; and {_MEASURED_FACTOR:g} times the {said} that the lower precision "
        "was measured to cost",
    )


def nearest(costs: Sequence[Cost], size: float) -> int:
    """The place of the cost of numbers whose size is most like another, at least one given."""
    return min(range(len(costs)), key=lambda at: abs(math.log(costs[at].size / size)))


def lift(tolerance: Tolerance, moved: Array | None) -> Tolerance:
    """Allow for a graph that enlarges errors more than the derivation assumes.

    Args:
        tolerance: The derived one.
        moved: What to allow for each element since it moved when each sum erred by what it is
            charged; the most in a part counts for all of it. None if that was not measured.
    """
    if moved is None:
        return tolerance
    parts = tolerance.parts or Parts(None, (1.0,))
    lifted = [max(pair) for pair in zip(tolerance.each, parts.largest(moved), strict=True)]
    if lifted == list(tolerance.each):
        return tolerance
    return tolerance.plus(
        lifted,
        f"errors of the size of the derived ones were measured to move it; {tolerance.reason}",
    )


def override(
    tolerance: Tolerance, *, atol: float | None = None, rtol: float | None = None
) -> Tolerance:
    """Put given numbers in the place of derived ones.

    Args:
        tolerance: The derived one; what is not given is kept from it.
        atol: Absolute part.
        rtol: Relative part.
    """
    if atol is None and rtol is None:
        return tolerance
    if atol is not None and rtol is not None:
        return Tolerance(atol, rtol, "given")
    name = "rtol" if atol is None else "atol"
    reason = f"{name} given; the other from {tolerance.reason}"
    if atol is not None:
        return Tolerance(atol, tolerance.rtol, reason)
    return replace(tolerance, rtol=tolerance.rtol if rtol is None else rtol, reason=reason)


def adds_up(node: ir.Node) -> bool:
    """Return whether a node reduces over terms, as products, reductions and normalizations do."""
    return node.op_type in RECURRENT or reduces(node)


def multiplies(node: ir.Node) -> bool:
    """Return whether a node is a product of matrices, a convolution, or made of such."""
    return kind_of(node) is Kind.PRODUCTS


def charge(
    node: ir.Node,
    bindings: Mapping[str, int],
    products: Products,
    *,
    output: ir.Value | None = None,
) -> float:
    """The variance that a node itself adds to the relative error of what it computes.

    Args:
        node: Its values carry their true shapes.
        bindings: Size of each input symbol.
        products: How float32 products are computed.
        output: One of its outputs, whose dtype counts; None for the first.
    """
    output = output or node.outputs[0]
    eps = epsilon(output)
    if eps is None:
        return 0.0
    sums = sums_of(node, bindings)
    variance = sum(_sum_variance(*each, bindings, min(eps, _FLOAT32_EPS)) for each in sums)
    own = sum(own_variance(each, bindings) for each in (node, *_inner(node)))
    variance += own * min(eps, _FLOAT32_EPS) ** 2
    if eps > _FLOAT32_EPS:
        variance += min(_steps(node, bindings), _REMEMBERED) * _ONE_ROUNDING * eps**2
    elif not sums:
        variance += eps**2
    if output.dtype in (None, ir.DataType.FLOAT):
        variance += sum(product_variance(*each, bindings, products) for each in sums)
    return variance


def only_moves(node: ir.Node) -> bool:
    """Return whether a node passes on numbers as they are, so that it rounds nothing itself."""
    return kind_of(node) is Kind.MOVES


def given_for(limits: Given, name: str) -> float | None:
    """The number that was given for an output, None if none was."""
    return limits.get(name) if isinstance(limits, Mapping) else limits


def _extend(
    behind: Chain,
    node: ir.Node,
    output: ir.Value,
    bindings: Mapping[str, int],
    products: Products,
) -> Chain:
    eps = epsilon(output)
    if eps is None:
        return behind
    added = sum(count for _, count in sums_of(node, bindings))
    narrows = node.op_type == "Cast" and _narrows(node)
    if not added and only_moves(node) and not narrows:
        return behind
    return Chain(
        variance=behind.variance + charge(node, bindings, products, output=output),
        terms=behind.terms + added,
        reductions=behind.reductions + bool(added),
        others=behind.others + (not added),
        coarsest=_coarser(behind.coarsest, output),
    )


def sums_of(node: ir.Node, bindings: Mapping[str, int]) -> list[tuple[ir.Node, int]]:
    """The node and those in its bodies, each with the terms that it adds up, if it adds any up."""
    counted = ((each, _terms(each, bindings)) for each in (node, *_inner(node)))
    return [(each, count) for each, count in counted if count]


def _sum_variance(node: ir.Node, added: int, bindings: Mapping[str, int], eps: float) -> float:
    """Return the variance of the rounding error of a node that sums terms."""
    return (_PER_SUM * _steps(node, bindings) + added / _TERMS_PER_EPS) * eps**2


def product_variance(
    node: ir.Node, added: int, bindings: Mapping[str, int], products: Products
) -> float:
    """Return the variance of the error of a float32 product because of how a GPU computes it."""
    if kind_of(node) is not Kind.PRODUCTS or products == Products.ROUNDED:
        return 0.0
    steps = _steps(node, bindings)
    variance = (added / steps / _TERMS_PER_CUT * _FLOAT32_EPS) ** 2
    if products == Products.TF32:
        variance += _TF32_SHARE * _TF32_EPS**2
    return steps * variance


def _coarser(current: np.dtype[Any] | None, output: ir.Value) -> np.dtype[Any] | None:
    own = output.dtype.numpy() if output.dtype is not None else current
    if current is None or own is None:
        return own
    return own if (epsilon_of(own) or 0.0) > (epsilon_of(current) or 0.0) else current


def _steps(node: ir.Node, bindings: Mapping[str, int]) -> int:
    """Return how often a node sums its terms one after the other: a recurrent one at each step."""
    if node.op_type not in RECURRENT:
        return 1
    return (_sizes(node.inputs[0], bindings) or [1])[0]


def _terms(node: ir.Node, bindings: Mapping[str, int]) -> int:
    if node.op_type not in RECURRENT:
        return terms(node, bindings)
    # Each step multiplies the input by W and the state by R.
    return _steps(node, bindings) * sum(
        _sizes(weights, bindings)[-1] for weights in node.inputs[1:3]
    )


def _sizes(value: ir.Value | None, bindings: Mapping[str, int]) -> list[int]:
    shape = truth.shape_of(value) if value is not None else None
    return [evaluate(dim, bindings) or 1 for dim in shape or ()]


def _inner(node: ir.Node) -> list[ir.Node]:
    """The nodes in the subgraphs of a node."""
    return [inner for graph in _subgraphs(node) for inner in graph]


def _subgraphs(node: ir.Node) -> list[ir.Graph]:
    kinds = {ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS}
    graphs: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type in kinds:
            single = attribute.type == ir.AttributeType.GRAPH
            graphs.extend([attribute.value] if single else attribute.value)
    return graphs


def _narrows(node: ir.Node) -> bool:
    source, target = node.inputs[0], node.outputs[0]
    if source is None or source.dtype is None or target.dtype is None:
        return True
    before, after = epsilon_of(source.dtype.numpy()), epsilon_of(target.dtype.numpy())
    return before is not None and after is not None and after > before


def epsilon(output: ir.Value) -> float | None:
    """Machine epsilon of a tensor; None where it holds no floating-point numbers."""
    return epsilon_of(output.dtype.numpy()) if output.dtype is not None else _FLOAT32_EPS
