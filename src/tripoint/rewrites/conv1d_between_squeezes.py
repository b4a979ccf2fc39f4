"""A 1-D convolution on a squeezed 4-D tensor is a 2-D convolution with kernel (k, 1).

    Unsqueeze(Transpose(Conv1d(Transpose(Squeeze(x, a), p), W), q), b)
        = Transpose(Conv2d(Transpose(x, P), W[..., None]), Q)

With L the axes of ``x`` without ``a``, P is ``L`` permuted by ``p`` followed by ``a``: the
squeezed axis becomes the last one, of size 1, along which the kernel has size 1, stride 1 and no
padding. Q is ``q`` with that axis put back at position ``b``. Either Transpose may be absent, and
an identity P or Q emits none. Bias, groups, strides, dilations, pads and auto_pad carry over.

Holds when ``x`` has rank 4, exactly one axis is squeezed and one unsqueezed, both by constants,
the weight is constant, and nothing else reads the tensors in between.

Why: TensorRT 7.x makes every dim of a squeezed or unsqueezed tensor unknown as soon as one is,
and every version adds a reshape before and after a 1-D convolution.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnxscript.rewriter import MatchResult, RewriteRuleClassBase

from tripoint.rewrites.axes import constant_axes, maker, normalized
from tripoint.rewrites.base import Rewrite

_RANK = 4


class _Conv1dBetweenSqueezes(RewriteRuleClassBase):  # type: ignore[misc]
    def __init__(self, *, transposed_before: bool, transposed_after: bool) -> None:
        super().__init__("conv1d-between-squeezes")
        self._transposed_before = transposed_before
        self._transposed_after = transposed_after

    def pattern(self, op: Any, x: Any, weight: Any) -> Any:
        y = op.Squeeze(x, _allow_other_inputs=True, _outputs=["squeezed"])
        if self._transposed_before:
            y = op.Transpose(y, _outputs=["before"])
        y = op.Conv(y, weight, _allow_other_inputs=True, _outputs=["convolved"])
        if self._transposed_after:
            y = op.Transpose(y, _outputs=["after"])
        return op.Unsqueeze(y, _allow_other_inputs=True, _outputs=["result"])

    def check(
        self,
        context: Any,  # noqa: ARG002
        x: ir.Value,
        weight: ir.Value,
        squeezed: ir.Value,
        convolved: ir.Value,
        result: ir.Value,
        **_: Any,
    ) -> MatchResult:
        match = MatchResult()
        if x.shape is None or x.shape.rank() != _RANK:
            return match.fail(f"`{x.name}` does not have rank {_RANK}", [x])
        for value in (squeezed, result):
            axes = constant_axes(maker(value))
            if axes is None:
                return match.fail(f"`{value.name}` has no constant axes", [value])
            if len(axes) != 1:
                return match.fail(f"`{value.name}` changes {len(axes)} axes, not one", [value])
        if ir.convenience.get_const_tensor(weight) is None:
            return match.fail(f"the weight `{weight.name}` is computed at run time", [weight])
        if weight.shape is None or weight.shape.rank() != _RANK - 1:
            return match.fail(f"the weight `{weight.name}` is not that of a 1-D convolution")
        if maker(convolved).attributes.get_string("auto_pad", "NOTSET") not in _AUTO_PADS:
            return match.fail(f"`{convolved.name}` has an unknown auto_pad", [convolved])
        return match

    def rewrite(
        self,
        op: Any,
        x: ir.Value,
        weight: ir.Value,
        squeezed: ir.Value,
        convolved: ir.Value,
        result: ir.Value,
        before: ir.Value | None = None,
        after: ir.Value | None = None,
    ) -> ir.Value:
        squeezed_axis = _axis(squeezed)
        rest = [axis for axis in range(_RANK) if axis != squeezed_axis]
        to_conv = [*(rest[axis] for axis in _perm(before)), squeezed_axis]
        from_conv = _perm(after)
        from_conv.insert(_axis(result), _RANK - 1)

        conv = maker(convolved)
        y = _transposed(op, x, to_conv)
        y = op.Conv(y, *_parameters(op, weight, conv), **_attributes(conv, weight))
        return _transposed(op, y, from_conv)


_AUTO_PADS = ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER")


def _axis(value: ir.Value) -> int:
    (axis,) = constant_axes(maker(value)) or (0,)
    return normalized(axis, _RANK)


def _perm(transposed: ir.Value | None) -> list[int]:
    if transposed is None:
        return [0, 1, 2]
    return list(maker(transposed).attributes.get_ints("perm", [2, 1, 0]))


def _transposed(op: Any, value: ir.Value, perm: list[int]) -> ir.Value:
    return value if perm == sorted(perm) else op.Transpose(value, perm=perm)


def _parameters(op: Any, weight: ir.Value, conv: ir.Node) -> list[ir.Value | None]:
    tensor = ir.convenience.get_const_tensor(weight)
    explicit = ir.tensor(tensor.numpy()[..., None], name=weight.name)  # type: ignore[union-attr]
    return [op.initializer(explicit, name=weight.name), *conv.inputs[2:]]


def _attributes(conv: ir.Node, weight: ir.Value) -> dict[str, Any]:
    given = conv.attributes
    (length,) = weight.shape[2:]  # type: ignore[index]
    begin, end = given.get_ints("pads", [0, 0])
    attributes: dict[str, Any] = {
        "dilations": [*given.get_ints("dilations", [1]), 1],
        "group": given.get_int("group", 1),
        "kernel_shape": [*given.get_ints("kernel_shape", [length]), 1],
        "pads": [begin, 0, end, 0],
        "strides": [*given.get_ints("strides", [1]), 1],
    }
    auto_pad = given.get_string("auto_pad", "NOTSET")
    if auto_pad != "NOTSET":
        del attributes["pads"]
        attributes["auto_pad"] = auto_pad
    return attributes


REWRITE = Rewrite(
    name="conv1d-between-squeezes",
    title="Convolve the 4-D tensor directly instead of squeezing it to 3-D and back",
    rules=tuple(
        _Conv1dBetweenSqueezes.rule(transposed_before=before, transposed_after=after)
        for before in (True, False)
        for after in (True, False)
    ),
    may_match=lambda node: node.op_type == "Unsqueeze",
)
