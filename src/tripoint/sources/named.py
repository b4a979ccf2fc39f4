"""PyTorch code that a caller names or holds."""

from __future__ import annotations

from tripoint.errors import UsageError
from tripoint.sources import python, reference
from tripoint.sources.python import TorchModel


def as_torch(model: str | TorchModel) -> TorchModel:
    """A reference to PyTorch code, as the module that it names.

    Raises:
        UsageError: If it is not a reference to PyTorch code.
        InputError: If the code cannot be found, or raises.
    """
    if not isinstance(model, str):
        return model
    parsed = reference.parse(model)
    if isinstance(parsed, reference.OnnxReference):
        raise UsageError(f"{model} is not PyTorch code", hint="write file.py:name")
    return python.load_module(parsed)
