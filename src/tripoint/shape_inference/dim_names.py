"""Meaning of the names of dims in a file, and names that TensorRT does not misread.

ONNX lets an exporter write any text as the name of a dim, and Paddle writes ``?`` at every dim that
it does not know. TensorRT takes equal texts for equal sizes, ``?`` and blanks among them (seen with
TensorRT-RTX 1.6.1), and stops with "Input dimensions with this name have different constant
values" where a profile says otherwise.
"""

from __future__ import annotations

import contextlib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx_ir as ir

from tripoint.model import Model, as_file
from tripoint.symbols import Shape, expression, is_made_up, is_plain, symbols_of

_ODD = re.compile(r"[^A-Za-z0-9_]+")
_ARITHMETIC = re.compile(r"[A-Za-z0-9_+*/%(),\s-]+")
_NO_NAME = re.compile(r"[\W_]*|\s*-\s*\d+\s*|\s*(None|none|null|nan|NaN)\s*")
"""Texts that say that there is no name: ``?``, blanks, ``-1``, Python's ``None``."""


def names_nothing(text: str) -> bool:
    """Return whether a text in place of a dim's name is none: ``?``, blanks, ``-1``, ``None``."""
    return bool(_NO_NAME.fullmatch(text))


def input_shapes(graph: ir.Graph) -> dict[ir.Value, ir.Shape]:
    """Shapes of the graph inputs, each dim a size, a plain symbol or an expression in symbols.

    ONNX allows any text as the name of a dim, and none. ``batch size`` becomes ``batch_size``, a
    dim without a name, or of less than 0, ``<input>_dim<axis>``; ``?``, blanks, ``-1`` and
    ``None`` are no names. Equal texts give equal symbols, and different texts different ones: a
    number follows where two would be the same. An expression such as ``2*N`` stays one only if
    ``N`` is the name of another dim; otherwise it is taken for a name, too.
    """
    shaped = [value for value in graph.inputs if value.shape is not None]
    texts = dict.fromkeys(text for value in shaped for text in _texts(value.shape))
    plain = {text for text in texts if is_plain(text) and not is_made_up(text)}
    taken = set(plain)
    meanings = {text: _of_text(text, plain, taken) for text in texts if text not in plain}
    meanings |= {text: text for text in plain}
    shapes = {}
    for value in shaped:
        dims = list(value.shape or ())
        for axis, dim in enumerate(dims):
            if isinstance(dim, ir.SymbolicDim) and meanings.get(str(dim.value)) is not None:
                dims[axis] = ir.SymbolicDim(meanings[str(dim.value)])
            elif isinstance(dim, ir.SymbolicDim) or dim < 0:
                dims[axis] = ir.SymbolicDim(unique(f"{value.name}_dim{axis}", taken))
        shapes[value] = ir.Shape(dims)
    return shapes


def _texts(shape: ir.Shape | None) -> list[str]:
    symbolic = [dim for dim in shape or () if isinstance(dim, ir.SymbolicDim)]
    return [text for dim in symbolic if dim.value and not names_nothing(text := str(dim.value))]


def _of_text(text: str, plain: set[str], taken: set[str]) -> str:
    """The symbol, or expression in symbols, that stands for a text that is no symbol itself."""
    used = symbols_of(text)
    if used and used <= plain and _ARITHMETIC.fullmatch(text):
        with contextlib.suppress(ValueError):
            return str(expression(text))
    return unique(_ODD.sub("_", text).strip("_") or "dim", taken)


def unique(name: str, taken: set[str]) -> str:
    """A symbol that reads like a name and is not in use yet, which it is from now on."""
    tidy = _ODD.sub("_", name)
    symbol = tidy if is_plain(tidy) else f"_{tidy}"
    unique, number = symbol, 1
    while unique in taken:
        number += 1
        unique = f"{symbol}_{number}"
    taken.add(unique)
    return unique


def clashes(graph: ir.Graph) -> tuple[str, ...]:
    """Names of the inputs with a dim whose name TensorRT would take for that of another one."""
    symbols: dict[str, set[str]] = defaultdict(set)
    users: dict[str, dict[str, None]] = defaultdict(dict)
    for value, shape in input_shapes(graph).items():
        for said, meant in zip(value.shape or (), shape, strict=True):
            if isinstance(said, ir.SymbolicDim) and said.value:
                symbols[str(said.value)].add(str(meant))
                users[str(said.value)][value.name or ""] = None
    shared = [users[text] for text, meanings in symbols.items() if len(meanings) > 1]
    return tuple(dict.fromkeys(name for names in shared for name in names))


def distinct(model: Model, shapes: Mapping[str, Shape | None] | None = None) -> Model:
    """The model with a name of its own for every dim that has none, if TensorRT misreads it.

    Names of dims are remarks: the function is the same.

    Args:
        model: It is not changed.
        shapes: True shapes by tensor name; with them a dim of an output is named as the dim of
            the input that it is, without them it has no name.

    Returns:
        The model itself where no two dims share a text and differ in what it means.
    """
    misread = frozenset(clashes(model.ir.graph))
    if not misread:
        return model
    copy = model.ir.clone()
    for value, shape in input_shapes(copy.graph).items():
        if value.name in misread:
            value.shape = ir.Shape(
                meant if isinstance(said, ir.SymbolicDim) and _placeholder(said) else said
                for said, meant in zip(value.shape or (), shape, strict=True)
            )
    for node in copy.graph.all_nodes():
        for value in node.outputs:
            if value.shape is not None and any(map(_placeholder, value.shape)):
                value.shape = _without_placeholders(value, shapes or {})
    return Model(copy, written=model.origin)


def _without_placeholders(value: ir.Value, shapes: Mapping[str, Shape | None]) -> ir.Shape:
    dims = list(value.shape or ())
    true = shapes.get(value.name or "") or ()
    for axis, dim in enumerate(dims):
        if _placeholder(dim):
            meant = true[axis] if len(true) == len(dims) else None
            plain = isinstance(meant, str) and is_plain(meant) and not is_made_up(meant)
            dims[axis] = ir.SymbolicDim(meant if plain else None)
    return ir.Shape(dims)


def _placeholder(dim: int | ir.SymbolicDim) -> bool:
    return isinstance(dim, ir.SymbolicDim) and bool(dim.value) and names_nothing(str(dim.value))


@contextlib.contextmanager
def file_for_tensorrt(model: Model) -> Iterator[Path]:
    """A path at which TensorRT can read the model, and take no dim for another.

    Yields:
        What :func:`tripoint.model.as_file` gives of :func:`distinct`.
    """
    with as_file(distinct(model)) as path:
        yield path
