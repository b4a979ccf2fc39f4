"""ONNX Runtime as the reference: no graph optimizations, one result for one input."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.errors import ExternalStepError, TripointError
from tripoint.model import Model, as_file, external_tensors


class Session:
    """One graph, loaded.

    Args:
        model: The graph; one that was not read from a file and has no external data is handed
            over in memory.

    Raises:
        ExternalStepError: If ONNX Runtime cannot load it.
    """

    def __init__(self, model: Model) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.use_deterministic_compute = True
        options.log_severity_level = 4
        try:
            with _loadable(model) as graph:
                self._session = onnxruntime.InferenceSession(
                    graph, options, providers=["CPUExecutionProvider"]
                )
        except TripointError:
            raise
        except Exception as error:
            raise ExternalStepError(
                f"ONNX Runtime cannot load the graph: {first_line(error)}"
            ) from error

    @property
    def outputs(self) -> Sequence[str]:
        """Names of the graph outputs, in order."""
        return [output.name for output in self._session.get_outputs()]

    def run(self, feed: Mapping[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """Compute all outputs, in graph order.

        Args:
            feed: Array by input name.

        Raises:
            ExternalStepError: If the graph does not run on these inputs.
        """
        try:
            return list(self._session.run(None, dict(feed)))
        except Exception as error:
            raise ExternalStepError(f"ONNX Runtime: {first_line(error)}") from error


@contextlib.contextmanager
def _loadable(model: Model) -> Iterator[str | bytes]:
    if model.path is None and next(external_tensors(model.ir), None) is None:
        yield ir.to_proto(model.ir).SerializeToString()
        return
    with as_file(model) as path:
        yield str(path)


def first_line(error: Exception) -> str:
    """The first line of a native message, which may be long."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]
