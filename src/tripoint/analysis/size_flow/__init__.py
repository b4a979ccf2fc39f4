"""Sources of each size: one axis of a tensor, one element of a size operand at a time.

The shape of an output is decided axis by axis (ONNX operator specification): an axis of a
Transpose is one axis of its input, an axis of a Reshape is one element of its size operand, and
that element may be an axis that a Shape has read. An operator that is not in the tables, or whose
attributes are missing as in a graph that was read from a log, may take any size of any input.
"""

from tripoint.analysis.size_flow.places import Axis, Element, SizeRef
from tripoint.analysis.size_flow.walk import Sizes

__all__ = ["Axis", "Element", "SizeRef", "Sizes"]
