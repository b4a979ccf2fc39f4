"""The PyTorch module itself, in evaluation mode."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from tripoint.errors import InputError
from tripoint.numeric.inputs import Arrays
from tripoint.numeric.torch_arrays import to_array, to_tensor
from tripoint.sources.flatten import flatten
from tripoint.sources.python import TorchModel, describe_failure

if TYPE_CHECKING:
    import torch


class TorchLeg:
    """Runs a module on the device that its weights are on.

    Args:
        model: The module.
        inputs: Parameter name of ``forward`` by name of the given arrays; by default the same.
    """

    name = "PyTorch"

    def __init__(self, model: TorchModel, *, inputs: Mapping[str, str] | None = None) -> None:
        self._model = model
        self._module = model.module.eval()
        self._parameters = inputs or {}
        self.drew = False
        """Whether a run has taken random numbers from PyTorch's generator."""

    @property
    def version(self) -> str:
        """Version of PyTorch."""
        import torch

        return str(torch.__version__)

    @property
    def device(self) -> str:
        """Name of the GPU, or ``"cpu"``."""
        import torch

        device = self.torch_device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

    @property
    def tf32(self) -> bool:
        """Return whether PyTorch may round float32 products to TF32 on this device."""
        import torch

        if self.torch_device.type != "cuda":
            return False
        return bool(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32)

    def run(self, inputs: Arrays) -> Arrays:
        """Compute the outputs; what the module prints goes to standard error.

        Args:
            inputs: Array by input name.

        Returns:
            Array by the name that ``flatten`` gives; complex numbers as :func:`as_written` says.

        Raises:
            InputError: If ``forward`` raises, or returns something not made of tensors.
        """
        import torch

        device = self.torch_device
        tensors = {
            self._parameters.get(name, name): to_tensor(array).to(device)
            for name, array in inputs.items()
        }
        state = _generator(device)
        try:
            with torch.no_grad(), contextlib.redirect_stdout(sys.stderr):
                value = self._model(tensors)
        except Exception as error:
            raise InputError(f"forward failed: {describe_failure(error)}") from error
        self.drew |= state != _generator(device)
        return {name: to_array(as_written(tensor)) for name, tensor in flatten(value).items()}

    def run_many(self, points: Iterable[Arrays]) -> Iterator[Arrays]:
        """Compute the outputs for several inputs, one after the other."""
        return map(self.run, points)

    @property
    def torch_device(self) -> torch.device:
        """The device that the weights are on."""
        import torch

        first = next(self._module.parameters(), None)
        return torch.device("cpu") if first is None else first.device


def _generator(device: torch.device) -> bytes:
    """The state of what random numbers are taken from."""
    import torch

    state = torch.get_rng_state().numpy().tobytes()
    on_gpu = device.type == "cuda"
    return state + (torch.cuda.get_rng_state(device).numpy().tobytes() if on_gpu else b"")


def as_written(tensor: torch.Tensor) -> torch.Tensor:
    """Complex numbers the way both exporters write them: pairs of reals along a last axis of 2."""
    import torch

    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor
