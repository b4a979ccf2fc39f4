"""ONNX Runtime on the CPU, without graph optimizations: the reference for an ONNX file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tripoint.model import Model
from tripoint.numeric.inputs import Arrays
from tripoint.numeric.ort import Session


class OnnxRuntimeLeg:
    """Runs an ONNX file as it is written, deterministically.

    Args:
        model: The model.
        name: How reports call this leg.
    """

    device = "cpu"
    tf32 = False

    def __init__(self, model: Model, *, name: str = "ONNX Runtime") -> None:
        self.name = name
        self._model = model
        self._session: Session | None = None

    @property
    def version(self) -> str:
        """Version of ONNX Runtime."""
        import onnxruntime

        return str(onnxruntime.__version__)

    @property
    def notes(self) -> list[str]:
        """Notes on what was computed in another way than the file says, once it has run."""
        return self._session.notes if self._session is not None else []

    def run(self, inputs: Arrays) -> Arrays:
        """Compute the outputs.

        Args:
            inputs: Array by input name.

        Raises:
            ExternalStepError: If ONNX Runtime cannot load or run the model.
        """
        if self._session is None:
            self._session = Session(self._model)
        outputs = self._session.run(inputs)
        return dict(zip(self._session.outputs, outputs, strict=True))

    def run_many(self, points: Iterable[Arrays]) -> Iterator[Arrays]:
        """Compute the outputs for several inputs, one after the other."""
        return map(self.run, points)
