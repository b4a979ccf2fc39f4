"""Inputs that an export gets: their sizes, their symbols and a tensor for each."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tripoint.errors import UsageError
from tripoint.sources.python import TorchModel
from tripoint.spec import InputSpec, Range, Spec
from tripoint.words import number_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_DEFAULT_DTYPE = "float32"


@dataclass(frozen=True)
class InputPlan:
    """The inputs of one export.

    Args:
        tensors: A tensor by input name, in the order of the parameters of ``forward``.
        dims: Per input and axis a fixed size or a symbol.
        symbols: Range by symbol, for the dims that stay dynamic.
    """

    tensors: Mapping[str, Tensor]
    dims: Mapping[str, tuple[int | str, ...]]
    symbols: Mapping[str, Range]

    def dynamic_axes(self, name: str) -> dict[int, str]:
        """Symbol by axis for one input."""
        return {axis: dim for axis, dim in enumerate(self.dims[name]) if isinstance(dim, str)}

    def size(self, symbol: str) -> int:
        """The size of a symbol in the tensors."""
        return _size(symbol, self.symbols)


def tensors_at(plan: InputPlan, sizes: Mapping[str, int], *, seed: int = 0) -> dict[str, Tensor]:
    """Tensors like those of an export, with other sizes.

    Args:
        plan: The inputs of the export.
        sizes: Size by symbol, of every symbol.
        seed: Seed of the tensors that are generated.

    Returns:
        A tensor by input name, integers within the range of the export's. Those without a
        symbol are the export's own.
    """
    tensors = {}
    for name, tensor in plan.tensors.items():
        shape = tuple(dim if isinstance(dim, int) else sizes[dim] for dim in plan.dims[name])
        same = shape == tuple(tensor.shape)
        resized = tensor if same else _generate(name, shape, tensor.dtype, tensor, seed)
        tensors[name] = resized.to(tensor.device)
    return tensors


def plan_inputs(model: TorchModel, spec: Spec, *, seed: int = 0) -> InputPlan:
    """Decide the inputs of an export from what was written and from the example inputs.

    A written shape overrides the sizes of the example. A dim ``1..2..8`` gets the symbol
    ``<input>_dim<axis>``. The tensors have the sizes to tune for, but at least 2 where that is
    in range, because torch.export takes 0 and 1 for fixed.

    Args:
        model: The module and its example inputs.
        spec: What ``--input`` and ``--dim`` said.
        seed: Seed of the tensors that are generated.

    Raises:
        UsageError: If an input has neither shape nor example, or a name, rank, dtype or symbol
            does not fit.
    """
    unnamed = any(written.name is None for written in spec.inputs)
    names = model.required_inputs if unnamed else model.input_names
    written = spec.resolve_names(names)
    device = _device(model)
    tensors: dict[str, Tensor] = {}
    dims: dict[str, tuple[int | str, ...]] = {}
    symbols: dict[str, Range] = {}
    for name in model.input_names:
        example = model.example_inputs.get(name)
        if name in written:
            dims[name] = _dims(name, written[name], example, spec.dims, symbols)
        elif example is not None:
            dims[name] = tuple(example.shape)
        elif name in model.required_inputs:
            raise UsageError(
                f"input {name!r} has neither a shape nor an example",
                hint=f"give --input {name}:1x3x224x224, or return (module, example_inputs)",
            )
        else:
            continue
        shape = tuple(_size(dim, symbols) for dim in dims[name])
        dtype = _dtype(name, written.get(name), example)
        if dtype.is_complex:
            raise UsageError(
                f"input {name!r} is complex, and ONNX files of PyTorch take real tensors",
                hint="give forward a float tensor with a last axis of 2, and make it complex "
                "there with torch.view_as_complex",
            )
        if example is not None and example.shape == shape:
            tensors[name] = example.to(device)
        else:
            tensors[name] = _generate(name, shape, dtype, example, seed).to(device)
    _refuse_unused(spec, dims, symbols, written)
    return InputPlan(tensors, dims, symbols)


def _dims(
    name: str,
    written: InputSpec,
    example: Tensor | None,
    ranges: Mapping[str, Range],
    symbols: dict[str, Range],
) -> tuple[int | str, ...]:
    if example is not None and len(written.dims) != example.dim():
        raise UsageError(
            f"input {name!r} is given {number_of(len(written.dims), 'dim')}, "
            f"its example has {example.dim()}",
            hint=f"the example has the shape {'x'.join(map(str, example.shape)) or '[]'}",
        )
    dims: list[int | str] = []
    for axis, dim in enumerate(written.dims):
        if isinstance(dim, int):
            dims.append(dim)
            continue
        symbol = dim if isinstance(dim, str) else f"{name}_dim{axis}"
        bounds = ranges.get(dim) if isinstance(dim, str) else dim
        if bounds is None:
            raise UsageError(
                f"dimension {symbol} of input {name!r} has no range",
                hint=f"give --dim {symbol}=1..2..8",
            )
        if bounds.min == bounds.max:
            dims.append(bounds.min)
        else:
            symbols[symbol] = bounds
            dims.append(symbol)
    return tuple(dims)


def _size(dim: int | str, symbols: Mapping[str, Range]) -> int:
    if isinstance(dim, int):
        return dim
    bounds = symbols[dim]
    return min(max(bounds.opt, 2), bounds.max)


def _dtype(name: str, written: InputSpec | None, example: Tensor | None) -> torch.dtype:
    import torch

    asked = written.dtype if written else None
    if example is None:
        dtype: torch.dtype = getattr(torch, asked or _DEFAULT_DTYPE)
        return dtype
    if asked and getattr(torch, asked) != example.dtype:
        has = str(example.dtype).removeprefix("torch.")
        raise UsageError(
            f"input {name!r} is given as {asked}, its example is {has}",
            hint=f"write @{has} or leave it out",
        )
    return example.dtype


def _generate(
    name: str, shape: tuple[int, ...], dtype: torch.dtype, example: Tensor | None, seed: int
) -> Tensor:
    import torch

    generator = torch.Generator().manual_seed(seed + zlib.crc32(name.encode()))
    if dtype.is_floating_point:
        return torch.randn(shape, generator=generator).to(dtype)
    low, high = 0, 2
    if example is not None and example.numel() and dtype != torch.bool:
        low, high = int(example.min()), int(example.max()) + 1
    return torch.randint(low, high, shape, generator=generator).to(dtype)


def _device(model: TorchModel) -> torch.device:
    import torch

    first = next(model.module.parameters(), None)
    return torch.device("cpu") if first is None else first.device


def _refuse_unused(
    spec: Spec,
    dims: Mapping[str, tuple[int | str, ...]],
    symbols: Mapping[str, Range],
    written: Mapping[str, InputSpec],
) -> None:
    used = set(symbols) | {dim for entry in written.values() for dim in entry.dims}
    unused = [symbol for symbol in spec.dims if symbol not in used]
    if unused:
        raise UsageError(
            f"no input uses the dimension {', '.join(unused)}",
            hint=f"write it into a shape, for instance --input {next(iter(dims))}:{unused[0]}x3",
        )
