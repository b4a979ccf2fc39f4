"""The equation of an Einsum in lower case, and without an ellipsis where a TensorRT takes none.

    Einsum<"Bij,Bjk->Bik">(x, z) = Einsum<"aij,ajk->aik">(x, z)
    Einsum<"...qd,...kd->...qk">(x, z) = Einsum<"abqd,abkd->abqk">(x, z)

The first holds always. The second, for TensorRT before 10.0, holds if the ranks are known and the
axes that the ellipsis stands for have the same sizes in all operands.

Why: the parsers of all versions stop at upper case, those before 10.0 at an ellipsis.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.dims import same_shape
from tripoint.shape_inference.truth import shape_of

_LABELS = re.compile(r"\.\.\.|[A-Za-z]")
_ELLIPSIS = "..."


def _find(node: ir.Node, site: Site) -> Replacement | str | None:
    written = node.attributes.get_string("equation", "").replace(" ", "")
    if "->" not in written and any(map(str.isupper, written)):
        return f"ONNX Runtime takes no upper case without a result, as in {written}"
    equation = _with_result(written)
    free = sorted(set(string.ascii_lowercase) - set(equation))
    said = equation
    if _ELLIPSIS in equation and not site.reads_ellipses:
        spelt = _spelt_out(node, equation, free)
        if isinstance(spelt, str):
            return spelt
        equation, free = spelt
    for letter in sorted(set(filter(str.isupper, equation))):
        if not free:
            return f"there are not enough lower case letters for {written}"
        equation = equation.replace(letter, free.pop(0))
    if equation == said:
        return None
    new = ir.node("Einsum", node.inputs, {"equation": equation})
    return Replacement([node], [node.outputs[0]], [new], [new.outputs[0]])


def _with_result(equation: str) -> str:
    """The equation with its result, which is else the letters that occur once, sorted."""
    if "->" in equation:
        return equation
    labels = _LABELS.findall(equation)
    once = sorted(each for each in set(labels) - {_ELLIPSIS} if labels.count(each) == 1)
    return f"{equation}->{_ELLIPSIS if _ELLIPSIS in labels else ''}{''.join(once)}"


def _spelt_out(node: ir.Node, equation: str, free: Sequence[str]) -> tuple[str, list[str]] | str:
    """The equation with letters for its ellipsis, and the letters that are left."""
    left = equation.partition("->")[0]
    covered = []
    for term, value in zip(left.split(","), node.inputs, strict=True):
        shape = shape_of(value) if value is not None else None
        if shape is None:
            return "the rank of an operand is not known"
        if _ELLIPSIS not in term:
            continue
        labels = _LABELS.findall(term)
        place, count = labels.index(_ELLIPSIS), len(shape) - len(labels) + 1
        covered.append(shape[place : place + count])
    if any(not same_shape(each, covered[0]) for each in covered):
        return f"the axes of the ellipsis of {equation} are broadcast"
    rank = len(covered[0]) if covered else 0
    if rank > len(free):
        return f"there are not enough lower case letters for {equation}"
    return equation.replace(_ELLIPSIS, "".join(free[:rank])), list(free[rank:])


REWRITE = Rewrite(
    name="einsum-letters",
    title="Write the equation of an Einsum as TensorRT reads it",
    find=_find,
    may_match=lambda node: node.op_type == "Einsum" and not node.domain,
)
