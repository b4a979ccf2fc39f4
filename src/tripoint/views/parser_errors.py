"""Text of a parser error in one sentence that names the node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import onnx_ir as ir

from tripoint.graph.names import node_name
from tripoint.graph.source_lines import source_of
from tripoint.table import Refusal
from tripoint.trt.messages import plain

_LEADS = {
    "UNSUPPORTED_NODE": "does not support this operator here",
    "UNSUPPORTED_NODE_ATTR": "does not support an attribute of this node",
    "UNSUPPORTED_NODE_INPUT": "does not support an input of this node",
    "UNSUPPORTED_NODE_DATATYPE": "does not support a data type of this node",
    "UNSUPPORTED_NODE_DYNAMIC": "does not support this operator with dynamic shapes",
    "UNSUPPORTED_NODE_SHAPE": "does not support the shapes of this node",
    "UNSUPPORTED_GRAPH": "does not support this graph",
    "INVALID_NODE": "holds this node to be invalid",
    "INVALID_GRAPH": "holds this graph to be invalid",
    "INVALID_VALUE": "holds a value of this node to be invalid",
    "MODEL_DESERIALIZE_FAILED": "cannot read the model",
    "MEM_ALLOC_FAILED": "ran out of memory at this node",
}
_PLUGIN = " (it looks for a plugin where its parser has no importer of its own)"
_BODIES = ("(If)", "(Loop)", "(Scan)", "_branch)")
_NO_DRIVER = "CUDA driver version is insufficient"
_LIMIT = 400
_LAYER = re.compile(r"API Usage Error \((?P<name>[^:()]+): ")
"""A complaint of the core about a layer, which the parser passes on at the node it has come to."""


def refusals(
    errors: Iterable[Mapping[str, Any]], graph: ir.Graph, version: str
) -> tuple[Refusal, ...]:
    """Read parser errors.

    Args:
        errors: As the child sends them: code, node (index), name, op, text, stack.
        graph: The graph that was parsed, for nodes without a name.
        version: Name and version of the TensorRT.

    Returns:
        A refusal for each. One whose error names no node has no operator, see
        :mod:`tripoint.views.stops`.
    """
    return tuple(_refusal(error, graph, version) for error in errors)


def _refusal(error: Mapping[str, Any], graph: ir.Graph, version: str) -> Refusal:
    outer = _outer(error, graph)
    if (culprit := _culprit(error, graph, outer)) is not None:
        where = (
            f" while it works out the sizes of {error['op']} `{node_name(outer)}`" if outer else ""
        )
        source = source_of(culprit)
        text = reason(error, version, where)
        return Refusal(node_name(culprit), culprit.op_type, text, str(source) if source else None)
    name = str(error["name"])
    where = ""
    if error["stack"]:
        where = f" ({_stack(error['stack'])})"
    elif outer is not None and outer.op_type != error["op"]:
        where = f" (inside {outer.op_type} `{node_name(outer)}`)"
    name = name or _unnamed(error, outer, graph)
    named = (node for node in graph.all_nodes() if node_name(node) == name)
    source = source_of(node) if (node := next(named, None)) is not None else None
    return Refusal(
        name, error["op"], reason(error, version, where), str(source) if source else None
    )


def _culprit(error: Mapping[str, Any], graph: ir.Graph, outer: ir.Node | None) -> ir.Node | None:
    """The node whose layer the core complains of, if that is another one than the parser's."""
    layer = _LAYER.search(error["text"])
    if layer is None or error["stack"]:
        return None
    named = (node for node in graph.all_nodes() if layer["name"] in parser_names(node))
    culprit = next(named, None)
    return culprit if culprit is not outer else None


def parser_names(node: ir.Node) -> set[str]:
    """Return the names that the parser may call a node: a name of its own replaces an empty one."""
    first = next((value.name for value in node.outputs if value.name), "")
    return {node.name or "", f"node_of_{first}"}


def _stack(entries: Sequence[str]) -> str:
    """Return the scopes of an error: calls of local functions, or an If and its branch."""
    inside = ", ".join(entries)
    bodies = any(entry.endswith(_BODIES) for entry in entries)
    return f"inside {inside}" if bodies else f"in the local function {inside}"


def _outer(error: Mapping[str, Any], graph: ir.Graph) -> ir.Node | None:
    """The node of the main graph; the parser counts these only, whatever is inside them."""
    index = error["node"]
    return next((node for position, node in enumerate(graph) if position == index), None)


def _unnamed(error: Mapping[str, Any], outer: ir.Node | None, graph: ir.Graph) -> str:
    if outer is None:
        return graph.name or "model"
    if outer.op_type == error["op"] or error["stack"]:
        return node_name(outer)
    inside = [
        node
        for attribute in outer.attributes.values()
        if attribute.type == ir.AttributeType.GRAPH and isinstance(attribute.value, ir.Graph)
        for node in attribute.value.all_nodes()
        if node.op_type == error["op"] and not node.name
    ]
    return node_name(inside[0] if len(inside) == 1 else outer)


def reason(error: Mapping[str, Any], version: str, where: str) -> str:
    """Return what is wrong with a node, in one sentence.

    Args:
        error: As the child sends it.
        version: Name and version of the TensorRT.
        where: What the node is inside of, in parentheses after a blank, or nothing.
    """
    lead = _LEADS.get(error["code"], "failed to import this node")
    text = _plain(error["text"])
    if not text and error.get("function"):
        text = f"it gives no reason but `false`, in {error['function']}"
    return f"{version} {lead}{where}" + (f": {text}" if text else "")


def _plain(native: str) -> str:
    lines = [line.strip() for line in native.splitlines() if line.strip()]
    useful = [line for line in lines if _NO_DRIVER not in line]
    if len(useful) > 1 and useful[0].startswith("Invalid Node"):
        useful = useful[1:]
    text = "; ".join(plain(line) for line in useful)
    if "plugin" in text.lower():
        text += _PLUGIN
    return "" if text == "false" else text[:_LIMIT]
