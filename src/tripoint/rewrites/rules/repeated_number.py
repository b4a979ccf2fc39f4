"""A tensor of one number whose sizes never change is an Expand of that number.

    ConstantOfShape([544, 256, 3, 3], value=0.02) = Expand(0.02, [544, 256, 3, 3])

Holds where the sizes are the same for all inputs, and TensorRT loses a dim of the result. Graph
outputs stay.

Why: TensorRT 7.x takes every ConstantOfShape for one of unknown sizes, and reads the sizes of an
Expand that are constant. What is small becomes a constant before; a large one would be as large in
the file.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from tripoint.rewrites.base import Replacement, Rewrite, Site
from tripoint.rewrites.constants import initializer, vector
from tripoint.rewrites.reshaping import new_node


def _find(node: ir.Node, site: Site) -> Replacement | None:
    (output,) = node.outputs
    dims = list(output.shape) if output.shape is not None else []
    sizes = [dim for dim in dims if isinstance(dim, int)]
    if not sizes or len(sizes) < len(dims) or not site.lost(output) or output.is_graph_output():
        return None
    fill = node.attributes.get_tensor("value")
    numbers = np.zeros(1, np.float32) if fill is None else fill.numpy().reshape(-1)[:1]
    operands = [initializer(numbers, f"{output.name}.number", output.dtype), vector(sizes)]
    expand = new_node("Expand", [*operands])
    return Replacement([node], [output], [expand], list(expand.outputs), operands, whole=True)


REWRITE = Rewrite(
    name="repeated-number",
    title="Expand one number where ConstantOfShape loses its sizes",
    when="lost",
    find=_find,
    may_match=lambda node: not node.domain and node.op_type == "ConstantOfShape",
)
