"""Treatment of each attribute of each operator by the importer of each TensorRT version.

The data is located beside this file: for each attribute of an operator the versions at which
something changed. ``does`` is one of three:

- ``read``: the importer looks at it; with ``when`` only if another attribute has such a value,
  and with ``values`` it takes any other value for one of them.
- ``ignored``: nothing looks at it. ``effect`` says what the version does instead, which is the same
  with one of ``values``; ``harmless`` why that changes no result.
- ``refused``: the version stops, whatever the value, or unless it is one of ``accepts``.

``in`` names the files of onnx-tensorrt at the release of ``from`` in which the attribute is looked
at, or would be; ``inferred`` what nobody has looked up. With ``noted``, the model of the importer
says it itself. An operator without rows has no importer in any version (:mod:`operators`), and an
attribute of a version before its first row comes with an operator that has none yet.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import onnx
import onnx_ir as ir

from tripoint.views.importer import operators

_DATA = Path(__file__).with_suffix(".json")

INSTALLED = "installed"
"""The parser that is installed here, which was asked itself where the table has a row for it."""

Table = Mapping[str, Mapping[str, list[Mapping[str, Any]]]]

Does = Literal["read", "ignored", "refused"]


@dataclass(frozen=True, slots=True)
class Treatment:
    """Treatment of one attribute by one version.

    Args:
        does: Whether it is read, ignored or refused.
        source: Branch and files of onnx-tensorrt, ``"parser"`` for what a real one was seen to do,
            or ``"inferred"``.
        accepts: Values that a version which refuses it takes nevertheless; of a list, elements.
        when: Values of other attributes with which it is read; with others it is ignored.
        values: Values that it tells apart, if it does not tell all; of one that is ignored, those
            that say what is done without it.
        unless: An attribute or input ``axes`` whose presence makes it meaningless.
        effect: What happens where it is ignored; empty if nothing is said.
        harmless: Why ignoring it changes no result; empty if it may.
        noted: Whether the model of the importer says it itself.
    """

    does: Does
    source: str
    accepts: tuple[Any, ...] = ()
    when: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    values: tuple[Any, ...] = ()
    unless: str = ""
    effect: str = ""
    harmless: str = ""
    noted: bool = False


_NO_IMPORTER = Treatment("refused", "the version has no importer for the operator", noted=True)


@functools.cache
def treatment(version: str, op: str, attribute: str) -> Treatment | None:
    """Return a version's treatment of an attribute of an operator of ONNX's default set.

    Args:
        version: A version of :func:`operators.versions`, or :data:`INSTALLED`.
        op: Operator type.
        attribute: Name of the attribute.

    Returns:
        None if the table does not know it.
    """
    ladder = (*operators.versions(), INSTALLED)
    if version != INSTALLED:
        support = operators.support(version, op)
        if support is None or not support.supported:
            return _NO_IMPORTER
    rows = table().get(op, {}).get(attribute, ())
    reached = [row for row in rows if ladder.index(row["from"]) <= ladder.index(version)]
    return _treatment(reached[-1], version) if reached else None


def _treatment(row: Mapping[str, Any], version: str) -> Treatment:
    where = row["in"]
    if row["from"] != INSTALLED and where != "inferred":
        where = f"release/{row['from']} {where}"
        if version == INSTALLED:
            where = f"inferred from {where}"
    return Treatment(
        does=row["does"],
        source=where,
        accepts=tuple(row.get("accepts", ())),
        when={name: tuple(values) for name, values in row.get("when", {}).items()},
        values=tuple(row.get("values", ())),
        unless=row.get("unless", ""),
        effect=row.get("effect", ""),
        harmless=row.get("harmless", ""),
        noted=row.get("noted", False),
    )


def misread(version: str, node: ir.Node, opset: int) -> Iterator[tuple[str, str]]:
    """The attributes of a node that a version refuses, or ignores with another result.

    Args:
        version: As :func:`treatment`.
        node: The node.
        opset: Version of the default operator set.

    Yields:
        The attribute, and what continues the sentence "TensorRT VERSION ...". What the model of
        the importer says itself is left out.
    """
    if node.domain:
        return
    for name, attribute in node.attributes.items():
        row = treatment(version, node.op_type, name)
        if row is None or row.noted or attribute.is_ref():
            continue
        value = _plain(attribute)
        effect = f": {row.effect}" if row.effect else ""
        if row.does == "refused" and not _accepted(value, row.accepts):
            yield name, _refused(node, name, row)
        elif row.does == "read" and row.values and value not in row.values:
            yield name, f"silently misreads `{name}` of {node.op_type}, {value}{effect}"
        elif _ignored(node, attribute, row, opset) and not says_nothing(node, name, opset):
            because = _because(node, row)
            yield name, f"silently ignores `{name}` of {node.op_type}{because}{effect}"


def is_ever_refused(op: str, attribute: str) -> bool:
    """Return whether some version that imports the operator refuses the attribute's every value."""
    rows = table().get(op, {}).get(attribute, ())
    return any(row["does"] == "refused" and not row["accepts"] for row in rows)


def says_nothing(node: ir.Node, name: str, opset: int) -> bool:
    """Return whether an attribute has the value that it has where it is left out."""
    schema = _schema(node.op_type, opset)
    declared = schema.attributes.get(name) if schema is not None else None
    if declared is None or not declared.default_value.name:
        return False
    default = onnx.helper.get_attribute_value(declared.default_value)
    default = default.decode() if isinstance(default, bytes) else default
    return bool(_plain(node.attributes[name]) == default)


def _ignored(node: ir.Node, attribute: ir.Attr, row: Treatment, opset: int) -> bool:
    if row.harmless or (row.does == "ignored" and _plain(attribute) in row.values):
        return False
    if row.unless and (
        row.unless in node.attributes
        or any(value is not None and value.name for value in node.inputs[1:])
    ):
        return False
    if row.does == "read":
        return any(_value(node, name, opset) not in values for name, values in row.when.items())
    return row.does == "ignored"


def _because(node: ir.Node, row: Treatment) -> str:
    settings = [f"{name}={_plain(node.attributes[name])}" for name in row.when]
    return f" with {', '.join(settings)}" if settings else ""


def _refused(node: ir.Node, name: str, row: Treatment) -> str:
    if not row.accepts:
        return f"refuses the attribute `{name}` of {node.op_type} whatever its value"
    values = " or ".join(map(str, row.accepts))
    return f"takes only {values} for the attribute `{name}` of {node.op_type}, so it stops here"


def _accepted(value: Any, accepts: tuple[Any, ...]) -> bool:
    if isinstance(value, list):
        return bool(accepts) and all(each in accepts for each in value)
    return value in accepts


def _value(node: ir.Node, name: str, opset: int) -> Any:
    if name in node.attributes:
        return _plain(node.attributes[name])
    schema = _schema(node.op_type, opset)
    declared = schema.attributes.get(name) if schema is not None else None
    if declared is None or not declared.default_value.name:
        return None
    default = onnx.helper.get_attribute_value(declared.default_value)
    return default.decode() if isinstance(default, bytes) else default


def _plain(attribute: ir.Attr) -> Any:
    value = attribute.value
    return list(value) if isinstance(value, tuple | list) else value


def _schema(op: str, opset: int) -> onnx.defs.OpSchema | None:
    try:
        return onnx.defs.get_schema(op, opset, "")
    except onnx.defs.SchemaError:
        return None


@functools.cache
def table() -> Table:
    """The rows of each attribute by operator, oldest version first."""
    rows: Table = json.loads(_DATA.read_text(encoding="utf-8"))["operators"]
    return rows
