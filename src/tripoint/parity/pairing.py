"""Which name of PyTorch belongs to which name of the ONNX file. Never by position."""

from __future__ import annotations

from collections.abc import Sequence

from tripoint.errors import UsageError
from tripoint.sources.flatten import is_unnamed
from tripoint.sources.python import TorchModel

Pairing = tuple[dict[str, str], str | None]
"""New name by old name, and a note where the two were not simply equal."""


def pair_inputs(torch: TorchModel, onnx: Sequence[str]) -> Pairing:
    """Match the inputs of an ONNX file with the parameters of ``forward``.

    Args:
        torch: The module.
        onnx: Input names of the file.

    Returns:
        Parameter by input name.

    Raises:
        UsageError: If the names differ and there is more than one.
    """
    required = [name for name in torch.input_names if name not in torch.optional_inputs]
    if set(required) <= set(onnx) <= set(torch.input_names):
        return {name: name for name in onnx}, None
    if len(onnx) == 1 and len(required) == 1:
        note = f"the only input {onnx[0]} is taken for the parameter {required[0]} of forward"
        return {onnx[0]: required[0]}, note
    raise UsageError(
        f"forward takes {', '.join(torch.input_names)}; the ONNX file takes {', '.join(onnx)}",
        hint="export again with the parameter names of forward as input names",
    )


def pair_outputs(torch: Sequence[str], onnx: Sequence[str], given: Sequence[str] | None) -> Pairing:
    """Match what a module returns with the outputs of an ONNX file.

    Args:
        torch: Names that ``flatten`` gives.
        onnx: Output names of the file.
        given: What the user calls the outputs of the module, in order.

    Returns:
        Name to compare under by name that ``flatten`` gives.

    Raises:
        UsageError: If ``given`` has another length, or the module returns a tuple whose places
            cannot be told from the names of the file.
    """
    if given is not None:
        if len(given) != len(torch):
            raise UsageError(
                f"{len(given)} output names are given, PyTorch returns {len(torch)} outputs"
            )
        return dict(zip(torch, given, strict=True)), None
    same = {name: name for name in torch}
    if set(torch) == set(onnx):
        return same, None
    if len(torch) == len(onnx) == 1:
        return {torch[0]: onnx[0]}, f"the only outputs, {torch[0]} and {onnx[0]}, are compared"
    if is_unnamed(list(torch)) and not set(torch) & set(onnx):
        raise UsageError(
            f"PyTorch returns {len(torch)} outputs without names; the ONNX file calls its own "
            f"{', '.join(onnx)}",
            hint="give --output-names with a name for each output of the module, in order",
        )
    return same, None
