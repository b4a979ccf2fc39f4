"""What a parser error says, in one sentence that names the node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import onnx_ir as ir

from tripoint.facts.table import Refusal

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
_ASSERTION = re.compile(r"Assertion failed: .*?: (.+)", re.DOTALL)
_CORE = re.compile(r"Error Code \d+: (?P<kind>[\w ]+) \((?P<text>.*?)(?: In .* at \S+)?\)$")
_PLUGIN = " (it looks for a plugin where its parser has no importer of its own)"
_NO_DRIVER = "CUDA driver version is insufficient"
_LIMIT = 400


def refusals(
    errors: Iterable[Mapping[str, Any]], graph: ir.Graph, version: str
) -> tuple[Refusal, ...]:
    """Read parser errors.

    Args:
        errors: As the child sends them: code, node (index), name, op, text, stack.
        graph: The graph that was parsed, for nodes without a name.
        version: Name and version of the TensorRT.
    """
    return tuple(
        Refusal(_node(error, graph), error["op"], _reason(error, version)) for error in errors
    )


def _node(error: Mapping[str, Any], graph: ir.Graph) -> str:
    if error["name"]:
        return str(error["name"])
    index = error["node"]
    nodes = [node for position, node in enumerate(graph) if position == index]
    # Inside a local function or a nested graph the index counts other nodes.
    if nodes and nodes[0].op_type == error["op"] and not error["stack"]:
        outputs = [output.name for output in nodes[0].outputs if output.name]
        return outputs[0] if outputs else f"node {index}"
    return f"node {index}" if index >= 0 else graph.name or "model"


def _reason(error: Mapping[str, Any], version: str) -> str:
    lead = _LEADS.get(error["code"], "failed to import this node")
    stack = error["stack"]
    within = f" (in the local function {', '.join(stack)})" if stack else ""
    text = _plain(error["text"])
    return f"{version} {lead}{within}" + (f": {text}" if text else "")


def _plain(native: str) -> str:
    lines = [line.strip() for line in native.splitlines() if line.strip()]
    useful = [line for line in lines if _NO_DRIVER not in line]
    if len(useful) > 1 and useful[0].startswith("Invalid Node"):
        useful = useful[1:]
    text = "; ".join(_plain_line(line) for line in useful)
    if "plugin" in text.lower():
        text += _PLUGIN
    return "" if text == "false" else text[:_LIMIT]


def _plain_line(line: str) -> str:
    if match := _ASSERTION.match(line):
        return match[1]
    if match := _CORE.search(line):
        return f"{match['kind']}: {match['text']}"
    return line
