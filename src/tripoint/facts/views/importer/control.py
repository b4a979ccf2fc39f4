"""What the importers of operators that hold graphs share."""

from __future__ import annotations

from tripoint.facts.views.importer.context import NodeContext, RefusedError


def scan_operands(node: NodeContext) -> tuple[range, range]:
    """Positions of the states and of the scan inputs of a Scan.

    Raises:
        RefusedError: If there are sequence lengths (opset 8), or no scan inputs.
    """
    first = 1 if node.opset == 8 else 0
    if first and node.has(0):
        raise RefusedError("takes no sequence lengths for Scan, so it stops here")
    inputs = range(first, len(node.onnx.inputs))
    scanned = node.attribute_int("num_scan_inputs", 0)
    if not 1 <= scanned <= len(inputs):
        raise RefusedError("needs num_scan_inputs of Scan, at least 1")
    carried = len(inputs) - scanned
    return inputs[:carried], inputs[carried:]
