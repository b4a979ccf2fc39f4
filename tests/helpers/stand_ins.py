"""Legs that stand in for TensorRT on a machine without a GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir
import onnxruntime

from tripoint.model import Model

Arrays = Mapping[str, "np.ndarray[Any, Any]"]


class Optimized:
    """ONNX Runtime with all its fusions and layouts: another order of sums, as an engine has."""

    name, version, device, tf32 = "TensorRT", onnxruntime.__version__, "cpu", False

    def __init__(self, model: Model) -> None:
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 4
        source = str(model.path) if model.path else ir.to_proto(model.ir).SerializeToString()
        self._session = onnxruntime.InferenceSession(
            source, options, providers=["CPUExecutionProvider"]
        )
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Arrays) -> Arrays:
        return dict(zip(self._outputs, self._session.run(None, dict(inputs)), strict=True))

    def run_many(self, points: Iterable[Arrays]) -> Iterator[Arrays]:
        return map(self.run, points)
