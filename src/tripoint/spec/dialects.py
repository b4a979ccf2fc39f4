"""Shapes as other tools write them.

========================================================  ====================================
``x:1x3,y:1x8``                                           trtexec, ONNX Runtime
``x:[1,3] y:[1,8]``, ``a:[1,3];b:[1,8]``                  Polygraphy, onnx-shape-fix
``[(1,3);(8,3);(32,3)]@f16%contiguous``                   torchtrtc; ``x:`` may stand in front
``Input(min_shape=(1,3), opt_shape=..., max_shape=...)``  Torch-TensorRT; ``name=`` for the name
``InputInfo(shape=((1,8,32),3), dtype=...)``              Tripy
``TensorRTProfile().add("x", (1,3), (8,3), (32,3))``      Model Navigator
``{"x": {"min_shape": [1,3], "opt_shape": ...}}``         mmdeploy
========================================================  ====================================

Nothing of this is executed.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tripoint.errors import UsageError
from tripoint.spec.types import DTYPES, ENDS, FORMS, InputSpec, Range, Values, ordered, parse_input

_QUOTED = re.compile(r"'(?P<name>[^']+)'(?P<rest>[:=].*)", re.DOTALL)
_TORCHTRTC = re.compile(
    r"(?:(?P<name>.+):)?\s*(?P<shapes>\[\s*\(.*\)\s*\]|\([-0-9,\s]*\))"
    r"(?:@(?P<dtype>[a-z0-9]+))?(?:%(?P<format>\w+))?\s*",
    re.DOTALL,
)
_SHORT = {
    "b": "bool",
    "bf16": "bfloat16",
    "double": "float64",
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
    "float": "float32",
    "half": "float16",
    "i32": "int32",
    "i64": "int64",
    "i8": "int8",
    "int": "int32",
    "u8": "uint8",
}
_OPEN, _CLOSE = "[({", "])}"

Triple = tuple[Values, Values, Values]


def read(text: str) -> list[InputSpec]:
    """All inputs that a text gives, in any spelling.

    Raises:
        UsageError: If it cannot be read; the message shows the forms of tripoint.
    """
    stripped = text.strip()
    if stripped.startswith("{"):
        return list(_of_mapping(text))
    if re.match(r"[A-Za-z_.]*\(", stripped) and stripped.endswith(")"):
        return list(_of_calls(text))
    return [_item(item) for item in split(text)]


def _item(text: str) -> InputSpec:
    if quoted := _QUOTED.fullmatch(text):
        return replace(_item(f"x{quoted['rest']}"), name=quoted["name"])
    if match := _TORCHTRTC.fullmatch(text):
        shapes = [
            tuple(int(size) for size in each.split(",") if size.strip())
            for each in re.findall(r"\(([-0-9,\s]*)\)", match["shapes"])
        ]
        if not 1 <= len(shapes) <= 3:
            raise UsageError(f"{text!r} has {len(shapes)} shapes", hint="min, opt and max")
        return ranged(match["name"], _three(shapes), _dtype(match["dtype"], text))
    return parse_input(text)


def split(text: str) -> list[str]:
    """The inputs and symbols of a text, which commas, semicolons or blanks part.

    A comma or blank that is followed by no name belongs to a shape, as in ``x:1,3,224``.
    """
    parts: list[str] = []
    current, between = "", ""
    for piece, separator in _pieces(text):
        if current and _names(piece) and _names(current):
            parts.append(current)
            current = piece
        else:
            current += between + piece if current else piece
        between = separator
    return [each for each in (*parts, current) if each] or [text]


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """Pieces between separators that no bracket or quote encloses, each with what follows it."""
    piece, depth, quoted = "", 0, False
    position = 0
    while position < len(text):
        character = text[position]
        if character == "'" and (quoted or not piece):
            quoted = not quoted and "'" in text[position + 1 :]
        depth += (character in _OPEN) - (character in _CLOSE)
        if depth <= 0 and not quoted and (character in ",;" or character.isspace()):
            end = position
            while end < len(text) and (text[end] in ",;" or text[end].isspace()):
                end += 1
            if piece:
                yield piece, text[position:end]
            piece, position = "", end
            continue
        piece += character
        position += 1
    if piece:
        yield piece, ""


def _names(piece: str) -> bool:
    return ":" in piece or "=" in piece


def parts(text: str) -> tuple[list[str], list[str]]:
    """The inputs and the symbols of a profile such as ``"N=1..8..32 x:Nx3x224x224"``."""
    inputs: list[str] = []
    dims: list[str] = []
    for item in split(text):
        name, equals, size = item.partition("=")
        is_dim = equals and ":" not in name and not size.lstrip().startswith("[")
        (dims if is_dim else inputs).append(item)
    return inputs, dims


def shapes(
    low: Sequence[str], opt: Sequence[str], high: Sequence[str]
) -> list[tuple[InputSpec, ...]]:
    """The inputs of each profile in trtexec's spelling.

    Args:
        low: Texts of ``--minShapes``, one for each profile; none if it was not given.
        opt: The same of ``--optShapes``.
        high: The same of ``--maxShapes``.

    Raises:
        UsageError: If their numbers differ, or the shapes of an input do not go together.
    """
    options = {"--minShapes": low, "--optShapes": opt, "--maxShapes": high}
    written = {name: texts for name, texts in options.items() if texts}
    counts = {len(texts) for texts in written.values()}
    if len(counts) > 1:
        said = ", ".join(f"{name} {len(texts)} times" for name, texts in written.items())
        raise UsageError(f"the profiles are not complete: {said}", hint="give each as often")
    return [
        _profile({name: read(texts[index]) for name, texts in written.items()})
        for index in range(max(counts, default=0))
    ]


def _profile(written: Mapping[str, Sequence[InputSpec]]) -> tuple[InputSpec, ...]:
    names = list(dict.fromkeys(spec.name for specs in written.values() for spec in specs))
    inputs = []
    for name in names:
        sizes = []
        for option, specs in written.items():
            same = [spec for spec in specs if spec.name == name]
            if len(same) != 1:
                how = "no shape" if not same else f"{len(same)} shapes"
                raise UsageError(f"{option} has {how} for input {name!r}")
            sizes.append(_sizes(same[0], option))
        dtype = next(
            (spec.dtype for specs in written.values() for spec in specs if spec.dtype), None
        )
        inputs.append(ranged(name, _three(sizes), dtype))
    return tuple(inputs)


def _sizes(spec: InputSpec, option: str) -> Values:
    if spec.values is not None:
        return spec.values[0]
    sizes = [dim for dim in spec.dims if isinstance(dim, int)]
    if len(sizes) < len(spec.dims):
        raise UsageError(
            f"{option} of input {spec.name!r} is not made of integers",
            hint="ranges and symbols go into --input",
        )
    return tuple(sizes)


def _three(shapes: Sequence[Values]) -> Triple:
    return shapes[0], shapes[1] if len(shapes) == 3 else shapes[-1], shapes[-1]


def ranged(name: str | None, shapes: Triple, dtype: str | None = None) -> InputSpec:
    """An input by its smallest, best and largest shape.

    They are kept as values, too: for a shape tensor they are that.

    Raises:
        UsageError: If they are not in order, or as long.
    """
    low, opt, high = ordered(*shapes, f"input {name!r}" if name else "the input")
    dims: tuple[int | Range, ...] = ()
    if all(size >= 0 for size in low):
        ends = zip(low, opt, high, strict=True)
        dims = tuple(a if a == c else Range(a, b, c) for a, b, c in ends)
    return InputSpec(name, dims, dtype, (low, opt, high))


def _dtype(text: str | None, where: str) -> str | None:
    if text is None:
        return None
    name = _SHORT.get(text, text)
    if name not in DTYPES:
        raise UsageError(f"input {where!r}: unknown dtype {text!r}", hint=", ".join(DTYPES))
    return name


# Python and JSON


def _of_mapping(text: str) -> Iterator[InputSpec]:
    written = _literal(_parsed(text), text)
    if not isinstance(written, dict):
        raise _unreadable(text)
    for name, shapes in written.items():
        if not isinstance(shapes, dict):
            raise _unreadable(text)
        yield ranged(str(name), _triple(shapes, text))


def _of_calls(text: str) -> Iterator[InputSpec]:
    call = _parsed(text)
    chain = []
    while isinstance(call, ast.Call):
        chain.append(call)
        call = call.func.value if isinstance(call.func, ast.Attribute) else call.func
    for call in reversed(chain):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
        name = call.func.id if isinstance(call.func, ast.Name) else name
        keywords = {word.arg or "": word.value for word in call.keywords}
        dtype = _dtype(_last(keywords.pop("dtype", None)), text)
        settings = {word: _literal(value, text) for word, value in keywords.items()}
        arguments = [_literal(value, text) for value in call.args]
        if name == "add":
            own = arguments.pop(0) if arguments else settings.pop("name", None)
            settings |= dict(zip(ENDS, arguments, strict=False))
            yield ranged(own, _triple(settings, text), dtype)
        elif name == "InputInfo":
            shape = settings.get("shape", arguments[0] if arguments else None)
            yield _tripy(settings.get("name"), shape, dtype, text)
        elif name == "Input":
            if arguments:
                settings["shape"] = arguments[0]
            yield ranged(settings.get("name"), _triple(settings, text), dtype)
        elif settings or arguments:
            raise _unreadable(text)


def _tripy(name: Any, shape: Any, dtype: str | None, text: str) -> InputSpec:
    if not isinstance(shape, tuple | list):
        raise _unreadable(text)
    ends = []
    for dim in shape:
        three = [dim] * 3 if isinstance(dim, int) else list(dim)
        if len(three) != 3:
            raise _unreadable(text)
        ends.append(three)
    low, opt, high = (_shape([three[end] for three in ends], text) for end in range(3))
    return ranged(name, (low, opt, high), dtype)


def _triple(settings: Mapping[str, Any], text: str) -> Triple:
    """Three shapes by the names that tools have for them; ``shape`` gives all three."""
    three = []
    for end in ENDS:
        shape = next(
            (
                settings[key]
                for key in (f"{end}_shape", f"{end}_shapes", end, "shape")
                if key in settings
            ),
            None,
        )
        three.append(_shape(shape, text))
    return three[0], three[1], three[2]


def _shape(shape: Any, text: str) -> Values:
    if not isinstance(shape, tuple | list) or not all(type(size) is int for size in shape):
        raise _unreadable(text)
    return tuple(shape)


def _last(node: ast.expr | None) -> str | None:
    """The last name of ``torch.float16``, or a text."""
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Name):
        return node.id
    return str(node.value) if isinstance(node, ast.Constant) else None


def _parsed(text: str) -> ast.expr:
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _unreadable(text) from error


def _literal(node: ast.expr, text: str) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError) as error:
        raise _unreadable(text) from error


def _unreadable(text: str) -> UsageError:
    return UsageError(f"cannot read input {text!r}", hint=f"write {FORMS}")
