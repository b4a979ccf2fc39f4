"""Error of a graph's outputs in float16 and bfloat16, measured.

Along the longest path, the derived tolerance counts every rounding in full. Branches that add
little to a residual stream, and normalizations, which keep errors from growing, make the real error
of a deep graph five to ten times smaller (``python bench/half.py``). With a short type that is the
difference between a tolerance that shows a missing bias and one that does not. So where a
difference is more than one rounding of the output deserves, ONNX Runtime runs the *reference* graph
twice on the same inputs, and rounds the result of each operator in one run and none in the other.
Four times what lies between is allowed, if it is less than what was derived.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.errors import TripointError
from tripoint.graph.ops import RECURRENT
from tripoint.model import Model
from tripoint.numeric.dtypes import Array
from tripoint.numeric.in_float32 import SHORT, exactly, in_float32, types_of
from tripoint.numeric.inputs import Arrays
from tripoint.numeric.ort import Session

_MOST_BYTES = 1 << 29
"""Of the weights, which each of the two runs holds as float32."""


class Rounded:
    """Measures one graph.

    Args:
        graph: Its values carry their types; it is not changed.
    """

    def __init__(self, graph: ir.Model) -> None:
        self._graph = graph
        self._short = [dtype for dtype in SHORT if dtype in types_of(graph)]
        self._last: tuple[Arrays, dict[str, Array]] | None = None

    def at(self, inputs: Arrays) -> dict[str, Array]:
        """Return the distance that rounding moves each element by, by output name.

        Args:
            inputs: Array by input name.

        Returns:
            0 where one of the two runs gives no finite number. Nothing for outputs that are no
            floating-point numbers or have other shapes, nor if there is no short type in the graph,
            its weights are too large to hold them twice, or it does not run. Nothing either where
            an operator is recurrent: whether its state is rounded at each step is not said.
        """
        if not self._short or self._recurrent or self._bytes > _MOST_BYTES:
            return {}
        if self._last is None or self._last[0] is not inputs:
            self._last = inputs, self._measured(inputs)
        return self._last[1]

    def _measured(self, inputs: Arrays) -> dict[str, Array]:
        try:
            exact, rounded = self._sessions
            wide = {name: _widened(array) for name, array in inputs.items()}
            pairs = zip(exact.run(wide), rounded.run(inputs), strict=True)
            named = dict(zip(exact.outputs, pairs, strict=True))
        except TripointError:
            return {}
        return {
            name: _distance(a, b)
            for name, (a, b) in named.items()
            if a.shape == b.shape and a.dtype.kind == "f"
        }

    @property
    def _recurrent(self) -> bool:
        return any(node.op_type in RECURRENT for node in self._graph.graph.all_nodes())

    @property
    def _bytes(self) -> int:
        tensors = (value.const_value for value in self._graph.graph.initializers.values())
        return sum(2 * tensor.nbytes for tensor in tensors if tensor is not None)

    @functools.cached_property
    def _sessions(self) -> tuple[Session, Session]:
        rounded = self._graph
        for dtype in self._short:
            rounded = in_float32(rounded, dtype)
        return Session(Model(exactly(self._graph))), Session(Model(rounded))


def _widened(array: Array) -> Array:
    return array.astype(np.float32) if ir.DataType.from_numpy(array.dtype) in SHORT else array


def _distance(exact: Array, rounded: Array) -> Array:
    a, b = (array.astype(np.float64) for array in (exact, rounded))
    with np.errstate(invalid="ignore"):
        distance: np.ndarray[Any, Any] = np.abs(a - b)
    return np.where(np.isfinite(distance), distance, 0.0)
