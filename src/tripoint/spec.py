"""The shape language: how a person writes the inputs of a model.

====================================  ==========================================
``x:1x3x224x224``                     the spelling of trtexec
``x:[1,3,224,224]``, ``x:1,3,224,224``  the spelling of Polygraphy and of onnxsim
``x:1..8..32x3x224x224``              one dim ranges from min over opt to max
``x:Nx3x224x224`` with ``N=1..8..32``   the same through a named symbol
``ids:1x16@int64``                    with a dtype
``1x3x224x224``                       the name may be left out with one input
====================================  ==========================================

Names are split off at the **last** colon, so ``block/x:0:1x3`` names ``block/x:0``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tripoint.errors import UsageError

FORMS = "x:1x3x224x224, x:[1,3,224,224] or x:1..8..32x3x224x224"
DTYPES = (
    *("float16", "bfloat16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)

_RANGE = re.compile(r"([0-9]+)\.\.(?:([0-9]+)\.\.)?([0-9]+)")
_SYMBOL = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")


@dataclass(frozen=True, slots=True)
class Range:
    """The sizes that one dimension may take.

    Args:
        min: Smallest size, at least 1.
        opt: The size to tune for.
        max: Largest size.

    Raises:
        UsageError: If not ``1 <= min <= opt <= max``.
    """

    min: int
    opt: int
    max: int

    def __post_init__(self) -> None:
        if not 1 <= self.min <= self.opt <= self.max:
            raise UsageError(f"range {self} does not satisfy 1 <= min <= opt <= max")

    def __str__(self) -> str:
        return f"{self.min}..{self.opt}..{self.max}"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input as a person wrote it.

    Args:
        name: Input name; None where it was left out.
        dims: Per axis a size, a range, or a symbol that a ``--dim`` binds.
        dtype: One of :data:`DTYPES`, or None where it was left out.
    """

    name: str | None
    dims: tuple[int | str | Range, ...]
    dtype: str | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """All that was said about the inputs: shapes by input and ranges by symbol."""

    inputs: tuple[InputSpec, ...] = ()
    dims: Mapping[str, Range] = field(default_factory=dict)

    @classmethod
    def parse(cls, inputs: Iterable[str] = (), dims: Iterable[str] = ()) -> Spec:
        """Read ``--input`` and ``--dim`` values.

        Args:
            inputs: Texts such as ``"x:1x3x224x224"``.
            dims: Texts such as ``"N=1..8..32"``.

        Raises:
            UsageError: If a text cannot be read, or a name is given twice.
        """
        parsed_inputs = tuple(parse_input(text) for text in inputs)
        names = [spec.name for spec in parsed_inputs]
        for name in names:
            if names.count(name) > 1:
                raise UsageError(f"input {name or 'without a name'} is given twice")
        parsed_dims: dict[str, Range] = {}
        for text in dims:
            symbol, bounds = parse_dim(text)
            if symbol in parsed_dims:
                raise UsageError(f"dimension {symbol} is given twice")
            parsed_dims[symbol] = bounds
        return cls(parsed_inputs, parsed_dims)

    def resolve_names(self, names: Iterable[str]) -> dict[str, InputSpec]:
        """Attach each written input to one of the model's inputs.

        Args:
            names: The model's input names, in order.

        Returns:
            Spec by input name, for the inputs that were written.

        Raises:
            UsageError: If a name is unknown, or left out where there are several inputs.
        """
        known = list(names)
        resolved: dict[str, InputSpec] = {}
        for spec in self.inputs:
            name = spec.name
            if name is None:
                if len(known) != 1:
                    raise UsageError(
                        f"the model has {len(known)} inputs, so each needs its name",
                        hint=f"its inputs are {', '.join(known)}",
                    )
                name = known[0]
            if name not in known:
                raise UsageError(
                    f"the model has no input named {name!r}",
                    hint=f"its inputs are {', '.join(known)}",
                )
            resolved[name] = spec
        return resolved


def parse_input(text: str) -> InputSpec:
    """Read one input, in any of the forms that the module lists.

    Args:
        text: For instance ``"x:1..8..32x3x224x224@float16"``.

    Raises:
        UsageError: If the text is ambiguous or malformed; the message shows the forms.
    """
    head, colon, tail = text.rpartition(":")
    name = head if colon else None
    if colon and not head:
        raise UsageError(f"input {text!r} has an empty name", hint=f"write {FORMS}")
    shape, at, dtype = tail.partition("@")
    if at and dtype not in DTYPES:
        raise UsageError(f"input {text!r}: unknown dtype {dtype!r}", hint=", ".join(DTYPES))
    return InputSpec(name, _parse_dims(shape.strip(), text), dtype or None)


def parse_dim(text: str) -> tuple[str, Range]:
    """Read one symbol binding such as ``N=1..8..32``, ``N=1..32`` or ``N=8``.

    Raises:
        UsageError: If it has another form.
    """
    symbol, equals, bounds = text.partition("=")
    value = _parse_size(bounds.strip())
    if not equals or not _SYMBOL.fullmatch(symbol.strip()) or value is None:
        raise UsageError(f"cannot read dimension {text!r}", hint="write N=8 or N=1..8..32")
    return symbol.strip(), value if isinstance(value, Range) else Range(value, value, value)


def _parse_dims(shape: str, text: str) -> tuple[int | str | Range, ...]:
    bracketed = shape.startswith("[") and shape.endswith("]")
    body = shape[1:-1] if bracketed else shape
    if bracketed and not body.strip():
        return ()
    parts = body.split(",") if bracketed or "," in body else body.split("x")
    dims: list[int | str | Range] = []
    for part in (part.strip() for part in parts):
        size = _parse_size(part)
        if size is not None:
            dims.append(size)
        elif _SYMBOL.fullmatch(part):
            dims.append(part)
        else:
            raise UsageError(f"cannot read {part!r} in input {text!r}", hint=f"write {FORMS}")
    return tuple(dims)


def _parse_size(part: str) -> int | Range | None:
    if part.isascii() and part.isdigit():
        return int(part)
    match = _RANGE.fullmatch(part)
    if not match:
        return None
    low, middle, high = match.groups()
    return Range(int(low), int(middle or high), int(high))
