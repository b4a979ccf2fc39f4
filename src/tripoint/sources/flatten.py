"""Names for the tensors that a PyTorch module returns."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from tripoint.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

_CACHES = ("self_attention_cache", "cross_attention_cache")
_PLACE = re.compile(r"output_\d+(\.\d+)*")
_STATES = ("keys", "values", "conv_states", "recurrent_states")


def flatten(value: object) -> dict[str, Tensor]:
    """Give every tensor of a return value a name that depends on its place only.

    ======================================  =====================================
    a tensor                                ``output``
    a tuple or list                         ``output_0``, ``output_1``, ...
    a dict, dataclass or named tuple        its keys or field names
    a cache of transformers                 its layers by number, then ``keys``, ``values``
    anything nested                         joined with dots: ``past.0``, ``box.xy``
    ======================================  =====================================

    Args:
        value: What ``forward`` returned. ``None`` in it is left out.

    Returns:
        Tensor by name, in the order in which they occur.

    Raises:
        InputError: If there is no tensor, something that is not a tensor, or two with one name.
    """
    named: dict[str, Tensor] = {}
    for path, tensor in _leaves(value, ()):
        name = ".".join(path) or "output"
        if name in named:
            raise InputError(f"two outputs of the module are both named {name!r}")
        named[name] = tensor
    if not named:
        raise InputError("the module returns no tensor")
    return named


def is_unnamed(names: Iterable[str]) -> bool:
    """Return whether the names say nothing but the position, as those of tuples and lists do."""
    return all(_PLACE.fullmatch(name) for name in names)


def _leaves(value: object, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    import torch

    if value is None:
        return
    if isinstance(value, torch.Tensor):
        yield path, value
        return
    children = _children(value, top=not path)
    if children is None:
        place = ".".join(path) or "the return value"
        raise InputError(
            f"output {place} of the module is a {type(value).__name__}, not a tensor",
            hint="return tensors, or tuples, lists, dicts or dataclasses of tensors",
        )
    for key, child in children:
        yield from _leaves(child, (*path, key))


def _children(value: Any, *, top: bool) -> list[tuple[str, object]] | None:
    if isinstance(value, Mapping):
        return [(str(key), child) for key, child in value.items()]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        return [(name, getattr(value, name)) for name in names]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return list(zip(value._fields, value, strict=True))
    if isinstance(value, (tuple, list)):
        prefix = "output_" if top else ""
        return [(f"{prefix}{index}", child) for index, child in enumerate(value)]
    return _cached(value)


def _cached(value: Any) -> list[tuple[str, object]] | None:
    """The parts of a cache of transformers, told by what it has: its classes change."""
    parts = [(part, getattr(value, part, None)) for part in _CACHES]
    if any(part is not None for _, part in parts):
        return [(name.removesuffix("_cache"), part) for name, part in parts]
    layers = getattr(value, "layers", None)
    if isinstance(layers, (list, tuple)) and hasattr(value, "get_seq_length"):
        return [(str(index), layer) for index, layer in enumerate(layers)]
    if not hasattr(value, "is_initialized"):
        return None
    return [(state, getattr(value, state)) for state in _STATES if hasattr(value, state)]
