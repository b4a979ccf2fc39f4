"""ONNX Runtime as the reference: no graph optimizations, one result for one input."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from tripoint.errors import ExternalStepError, TripointError
from tripoint.model import TEXT_SUFFIXES, Model, external_tensors
from tripoint.numeric import ort_values
from tripoint.numeric.batch_first import with_time_first
from tripoint.numeric.in_float32 import SAID, in_float32, types_of

_WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"

_RAN = re.compile(
    r"Non-zero status code returned while running (\w+) node\. Name:'([^']*)' Status Message: "
)
_SOURCE = re.compile(r"/onnxruntime_src/\S+ ")


class Session:
    """One graph, loaded.

    Args:
        model: The graph; one that has no file is handed over in memory, its weights by folder.
            Recurrent operators with the batch first, for which ONNX Runtime has no kernel, are
            computed as :mod:`tripoint.numeric.batch_first` defines them.
        natively: Whether a graph that needs bfloat16 kernels which ONNX Runtime does not have is
            refused; else it is computed as :mod:`tripoint.numeric.in_float32` says.

    Raises:
        ExternalStepError: If ONNX Runtime cannot load it.
    """

    def __init__(self, model: Model, *, natively: bool = False) -> None:
        model = with_time_first(model)
        self._note: str | None = None
        try:
            self._session = _load(model)
        except ExternalStepError:
            if natively or ir.DataType.BFLOAT16 not in types_of(model.ir):
                raise
            self._session = _load(Model(in_float32(model.ir)))
            self._note = SAID
        self._by_value = ort_values.needed(self._session)

    @property
    def notes(self) -> list[str]:
        """Notes on what is computed in another way than the graph says; mostly none."""
        return [self._note] if self._note else []

    @property
    def outputs(self) -> Sequence[str]:
        """Names of the graph outputs, in order."""
        return [output.name for output in self._session.get_outputs()]

    @property
    def input_types(self) -> Sequence[tuple[str, str, list[int | str | None]]]:
        """Name, type such as ``tensor(float)``, and shape of the inputs that must be fed."""
        return [(each.name, each.type, each.shape) for each in self._session.get_inputs()]

    @property
    def output_types(self) -> Sequence[tuple[str, str, list[int | str | None]]]:
        """The same of the outputs."""
        return [(each.name, each.type, each.shape) for each in self._session.get_outputs()]

    def run(self, feed: Mapping[str, np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
        """Compute all outputs, in graph order.

        Args:
            feed: Array by input name.

        Raises:
            ExternalStepError: If the graph does not run on these inputs.
        """
        try:
            if self._by_value:
                return ort_values.run(self._session, feed)
            return list(self._session.run(None, dict(feed)))
        except Exception as error:
            raise ExternalStepError(f"ONNX Runtime: {first_line(error)}") from error


def _load(model: Model) -> Any:
    """An ``onnxruntime.InferenceSession``.

    Raises:
        ExternalStepError: If ONNX Runtime cannot load the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    _keep_to_given_processors(options)
    try:
        return onnxruntime.InferenceSession(
            _source(model, options), options, providers=["CPUExecutionProvider"]
        )
    except TripointError:
        raise
    except Exception as error:
        raise ExternalStepError(
            f"ONNX Runtime cannot load the graph: {first_line(error)}"
        ) from error


def _keep_to_given_processors(options: Any) -> None:
    """Take no more threads than this process may use; ONNX Runtime counts the whole machine."""
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
        if allowed < (os.cpu_count() or 1):
            options.intra_op_num_threads = allowed


def _source(model: Model, options: Any) -> str | bytes:
    """Return the source that ONNX Runtime loads: the file, or the graph's bytes without one."""
    if model.path is not None and model.path.suffix not in TEXT_SUFFIXES:
        return str(model.path)
    folders = {os.fspath(tensor.base_dir) for tensor in external_tensors(model.ir)}
    if len(folders) > 1:
        raise ExternalStepError(f"the weights are located in several folders: {', '.join(folders)}")
    for folder in folders:
        options.add_session_config_entry(_WEIGHTS_FOLDER, folder or os.curdir)
    serialized: bytes = ir.to_proto(model.ir).SerializeToString()
    return serialized


def first_line(error: Exception) -> str:
    """The first line of a native message, which may be long, without what it says of its source."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _SOURCE.sub("", _RAN.sub(r"\1 node '\2': ", lines[0]))[:300]
