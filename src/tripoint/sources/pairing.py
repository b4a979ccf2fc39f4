"""Pairs of a name of PyTorch and a name of the ONNX file, by order where PyTorch has none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tripoint.errors import UsageError
from tripoint.numeric.inputs import Arrays
from tripoint.sources.flatten import is_unnamed
from tripoint.sources.python import TorchModel

Pairing = tuple[dict[str, str], str | None]
"""New name by old name, and a note where the two were not simply equal."""

_SHOWN = 8
"""Pairs that a note lists."""


def pair_inputs(
    torch: TorchModel, onnx: Sequence[str], input_names: Sequence[str] | None = None
) -> Pairing:
    """Match the inputs of an ONNX file with the parameters of ``forward``.

    Args:
        torch: The module.
        onnx: Input names of the file.
        input_names: What the file calls the inputs of the module, in order; later ones with a
            default may be left out.

    Returns:
        Parameter by input name.

    Raises:
        UsageError: If the names differ and there is more than one, or ``input_names`` does not fit.
    """
    if input_names is not None:
        return _by_names(torch, onnx, input_names), None
    required = [name for name in torch.input_names if name not in torch.optional_inputs]
    if set(required) <= set(onnx) <= set(torch.input_names):
        return {name: name for name in onnx}, None
    if len(onnx) == 1 and len(required) == 1:
        note = f"the only input {onnx[0]} is taken for the parameter {required[0]} of forward"
        return {onnx[0]: required[0]}, note
    raise UsageError(
        f"forward takes {', '.join(torch.input_names)}; the ONNX file takes {', '.join(onnx)}",
        hint=f"give --input-names with what the file calls {', '.join(required)}, in this order, "
        "or export again with these as input names",
    )


def _by_names(torch: TorchModel, onnx: Sequence[str], input_names: Sequence[str]) -> dict[str, str]:
    unknown = [name for name in input_names if name not in onnx]
    lacking = [name for name in onnx if name not in input_names]
    if unknown or lacking or len(set(input_names)) < len(input_names):
        raise UsageError(
            f"--input-names gives {', '.join(input_names)}; the ONNX file takes {', '.join(onnx)}",
            hint="give each input of the file once, in the order of the parameters of forward",
        )
    accepted = torch.input_names
    needed = [name for name in accepted if name not in torch.optional_inputs]
    if len(input_names) > len(accepted) or not set(needed) <= set(accepted[: len(input_names)]):
        raise UsageError(
            f"--input-names gives {len(input_names)} names; forward takes {', '.join(accepted)}"
        )
    return dict(zip(input_names, accepted, strict=False))


def pair_outputs(
    torch: Sequence[str], onnx: Sequence[str], output_names: Sequence[str] | None
) -> Pairing:
    """Match what a module returns with the outputs of an ONNX file.

    By name where the names are the same. What a tuple or list returns has none; neither exporter
    of PyTorch changes the order of the tensors, nested ones one after the other and None left out
    (``torch.onnx.export``), so the order tells them apart, and the note says so. Whether the
    values are in that order, :func:`tripoint.parity.assignment.find_permutation` sees. The same
    holds of names of which the file has not one.

    Args:
        torch: Names that ``flatten`` gives.
        onnx: Output names of the file.
        output_names: What the user calls the outputs of the module, in order.

    Returns:
        Name to compare under by name that ``flatten`` gives.

    Raises:
        UsageError: If ``output_names`` has another length, or the module returns a tuple of another
            length, or one whose places are other ones by the names of the file.
    """
    if output_names is not None:
        if len(output_names) != len(torch):
            raise UsageError(
                f"{len(output_names)} output names are given, PyTorch returns {len(torch)} outputs"
            )
        return dict(zip(torch, output_names, strict=True)), None
    same = {name: name for name in torch}
    if set(torch) == set(onnx):
        return same, None
    if len(torch) == len(onnx) == 1:
        return {torch[0]: onnx[0]}, f"the only outputs, {torch[0]} and {onnx[0]}, are compared"
    unnamed, shared = is_unnamed(torch), set(torch) & set(onnx)
    if shared and not unnamed:
        return same, None
    if len(torch) != len(onnx):
        if not unnamed:
            return same, None
        raise UsageError(
            f"PyTorch returns {len(torch)} outputs without names, and the ONNX file has "
            f"{len(onnx)}: {', '.join(onnx)}",
            hint=f"give --output-names with {len(torch)} names, one for each output of the module "
            "in order; those that the file lacks are then reported as missing",
        )
    pairs = list(zip(torch, onnx, strict=True))
    elsewhere = next((own for own, other in pairs if own in shared and own != other), None)
    if elsewhere is not None:
        raise UsageError(
            f"PyTorch returns {len(torch)} outputs without names; output {elsewhere} of the ONNX "
            f"file has another place there than its name says: {', '.join(onnx)}",
            hint="give --output-names with a name for each output of the module, in order",
        )
    listed = ", ".join(f"{own} with {other}" for own, other in pairs[:_SHOWN])
    more = f" and {len(pairs) - _SHOWN} more" if len(pairs) > _SHOWN else ""
    why = "without names" if unnamed else "under other names than the file"
    note = f"PyTorch returns {len(pairs)} outputs {why}; they are compared in order, which "
    return dict(pairs), f"{note}exporters keep: {listed}{more}"


def renamed(arrays: Arrays, names: Mapping[str, str]) -> dict[str, np.ndarray[Any, Any]]:
    """Outputs of a module under the names to compare.

    Two may have one name, where the file lists an output twice; if they are not the same, the
    second keeps its own name, and is one too many.

    Args:
        arrays: Array by name that ``flatten`` gives.
        names: From :func:`pair_outputs`.
    """
    arrays_by_name: dict[str, np.ndarray[Any, Any]] = {}
    for own, array in arrays.items():
        name = names.get(own, own)
        other = arrays_by_name.get(name)
        if other is not None and other.tobytes() != array.tobytes():
            name = own
        arrays_by_name[name] = array
    return arrays_by_name


def moved(outputs: Mapping[str, str]) -> str:
    """A permutation in words.

    Args:
        outputs: For each output that is out of place, the name whose values it holds.
    """
    return "; ".join(f"{name} holds {other}" for name, other in outputs.items())
