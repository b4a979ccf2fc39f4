"""The shape language: how a person writes the inputs of a model.

====================================  ==========================================
``x:1x3x224x224``                     the spelling of trtexec
``x:[1,3,224,224]``, ``x:1,3,224,224``  the spelling of Polygraphy and of onnxsim
``x:1..8..32x3x224x224``              one dim ranges from min over opt to max
``x:Nx3x224x224`` with ``N=1..8..32``   the same through a named symbol
``ids:1x16@int64``                    with a dtype
``1x3x224x224``                       the name may be left out with one input
``size=[64,64]..[64,96]..[128,128]``  values, of an input whose values are sizes
``x:1x3,y:1x8``, ``x:[1,3] y:[1,8]``  several inputs in one text
====================================  ==========================================

Names are split off at the **last** colon, so ``block/x:0:1x3`` names ``block/x:0``; they may stand
in single quotes. A profile of an input whose *values* are sizes (a shape tensor) gives its values:
what is written after its colon are these, as with trtexec and Polygraphy. What other tools write
is read by :mod:`tripoint.spec.dialects`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tripoint.errors import UsageError

FORMS = "x:1x3x224x224, x:[1,3,224,224] or x:1..8..32x3x224x224"
DTYPES = (
    *("float16", "bfloat16", "float32", "float64", "bool"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)

_RANGE = re.compile(r"([0-9]+)\.\.(?:([0-9]+)\.\.)?([0-9]+)")
_SYMBOL = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_LIST = r"\[[-0-9,\s]*\]"
_VALUES = re.compile(rf"(?P<name>.+?)\s*=\s*(?P<lists>{_LIST}(?:\.\.{_LIST}){{0,2}})", re.DOTALL)

ENDS = ("min", "opt", "max")
"""Ends of the range of a size that varies, in TensorRT's words."""

Values = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The sizes that one dimension may take.

    Args:
        min: Smallest size; 0 is one, as that of a cache that starts empty.
        opt: The size to tune for.
        max: Largest size.

    Raises:
        UsageError: If not ``0 <= min <= opt <= max``.
    """

    min: int
    opt: int
    max: int

    def __post_init__(self) -> None:
        if not 0 <= self.min <= self.opt <= self.max:
            raise UsageError(f"range {self} does not satisfy 0 <= min <= opt <= max")

    def __str__(self) -> str:
        return f"{self.min}..{self.opt}..{self.max}"


@dataclass(frozen=True, slots=True)
class InputSpec:
    """One input as a person wrote it.

    Args:
        name: Input name; None where it was left out.
        dims: Per axis a size, a range, or a symbol that a ``--dim`` binds.
        dtype: One of :data:`DTYPES`, or None where it was left out.
        values: Smallest, best and largest values, as they were written for a shape tensor. There
            are no ``dims`` beside them if these cannot be sizes.
    """

    name: str | None
    dims: tuple[int | str | Range, ...]
    dtype: str | None = None
    values: tuple[Values, Values, Values] | None = None


def parse_input(text: str) -> InputSpec:
    """Read one input, in any of the forms that the module lists.

    Args:
        text: For instance ``"x:1..8..32x3x224x224@float16"``.

    Raises:
        UsageError: If the text is ambiguous or malformed; the message shows the forms.
    """
    if match := _VALUES.fullmatch(text):
        return InputSpec(match["name"], (), values=_values(match["lists"], text))
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
    try:
        value = _parse_size(bounds.strip())
    except UsageError as error:
        raise error.within(subject=f"--dim {text}") from None
    if not equals or not _SYMBOL.fullmatch(symbol.strip()) or value is None:
        raise UsageError(f"cannot read dimension {text!r}", hint="write N=8 or N=1..8..32")
    return symbol.strip(), value if isinstance(value, Range) else Range(value, value, value)


def _parse_dims(shape: str, text: str) -> tuple[int | str | Range, ...]:
    bracketed = shape.startswith("[") and shape.endswith("]")
    body = shape[1:-1] if bracketed else shape
    if (bracketed and not body.strip()) or body == "scalar":
        return ()
    parts = body.split(",") if bracketed or "," in body else body.split("x")
    dims: list[int | str | Range] = []
    for axis, part in enumerate(part.strip() for part in parts):
        try:
            size = _parse_size(part)
        except UsageError as error:
            raise error.within(subject=f"axis {axis} of input {text!r}") from None
        if size is not None:
            dims.append(size)
        elif _SYMBOL.fullmatch(part):
            dims.append(part)
        else:
            raise UsageError(f"cannot read {part!r} in input {text!r}", hint=f"write {FORMS}")
    return tuple(dims)


def _values(lists: str, text: str) -> tuple[Values, Values, Values]:
    """Values of a shape tensor; as for sizes, one list gives all three, and two min and max."""
    try:
        ends = [
            tuple(int(part) for part in each.strip("[]").split(",") if part.strip())
            for each in lists.split("..")
        ]
    except ValueError as error:
        raise UsageError(f"cannot read the values in {text!r}", hint="write s=[1,3]") from error
    low, opt, high = ends[0], ends[1] if len(ends) == 3 else ends[-1], ends[-1]
    return ordered(low, opt, high, f"input {text!r}")


def ordered(low: Values, opt: Values, high: Values, what: str) -> tuple[Values, Values, Values]:
    """Three lists of values, if they are as long and in order.

    Raises:
        UsageError: If they are not; the message names the first place that is wrong.
    """
    if not len(low) == len(opt) == len(high):
        lengths = f"{len(low)}, {len(opt)} and {len(high)}"
        raise UsageError(f"{what} has {lengths} entries at min, opt and max")
    for axis, (a, b, c) in enumerate(zip(low, opt, high, strict=True)):
        if not a <= b <= c:
            raise UsageError(f"axis {axis} of {what}: {a}..{b}..{c} is not min <= opt <= max")
    return low, opt, high


def _parse_size(part: str) -> int | Range | None:
    if part.isascii() and part.isdigit():
        return int(part)
    match = _RANGE.fullmatch(part)
    if not match:
        return None
    low, middle, high = match.groups()
    return Range(int(low), int(middle or high), int(high))
