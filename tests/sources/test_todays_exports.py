"""The seed's case in today's PyTorch: both exporters, static and dynamic, come out as graph B."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

import tripoint
from tests.helpers.graphs import GRAPH_B, assert_same_function, operators
from tests.helpers.marks import installed, needs_tensorrt
from tripoint.model import Model
from tripoint.spec import Spec

pytestmark = pytest.mark.needs_torch

STATIC = "x:1x3x5x5"
DYNAMIC = "x:1..2..8x3x5..9..32x5..9..32"
SIZES = [{"x_dim0": n, "x_dim2": h, "x_dim3": w} for n, h, w in ((1, 5, 5), (2, 9, 7), (8, 6, 32))]


@pytest.fixture(scope="module", params=["dynamo", "torchscript"])
def exporter(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=[STATIC, DYNAMIC], ids=["static", "dynamic"])
def exported(
    request: pytest.FixtureRequest,
    exporter: str,
    examples: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Model:
    path = tmp_path_factory.mktemp("export") / "eca.onnx"
    reference = f"{examples / 'eca.py'}:model"
    spec = Spec.parse([request.param])
    return tripoint.export(reference, path, spec=spec, exporter=exporter).model


def is_dynamic(model: Model) -> bool:
    return any(not isinstance(dim, int) for dim in model.ir.graph.inputs[0].shape)


def shaped(model: Model) -> list[tuple[str, dict[str, Any], list[tuple[object, ...]]]]:
    """Operator, attributes and weight shapes of each node; attributes at their default left out."""
    found: list[tuple[str, dict[str, Any], list[tuple[object, ...]]]] = []
    for node in model.ir.graph:
        attributes = {name: attribute.value for name, attribute in node.attributes.items()}
        if attributes.get("auto_pad") == "NOTSET":
            del attributes["auto_pad"]
        weights = [
            tuple(value.const_value.shape)
            for value in node.inputs
            if value is not None and value.const_value is not None
        ]
        found.append((node.op_type, attributes, weights))
    return found


@pytest.mark.parametrize("target", ["7.1", installed])
def test_fix_gives_graph_b(exported: Model, target: str) -> None:
    result = tripoint.fix(exported, target=target)
    assert shaped(result.model) == shaped(tripoint.load(GRAPH_B))
    assert result.proven
    assert result.after.lost_dims == 0
    assert result.facts_after.table.refusals == ()
    assert not any(facts.differs for facts in result.facts_after.table.tensors)
    for applied in result.applied:
        assert len(applied.proof.numeric.points) >= 3
    assert_same_function(exported, result.model, SIZES if is_dynamic(exported) else ({}, {}, {}))


def test_what_71_makes_of_them(exported: Model, exporter: str) -> None:
    table = tripoint.shapes(exported, target="7.1")
    refused = {refusal.op for refusal in table.refusals}
    if exporter == "torchscript":
        # As in the seed: the Expand is where it starts; a dynamic batch starts it at Squeeze, too.
        starts = [table.by_name[name].op for name in table.origins]
        assert starts == (["Squeeze", "Expand"] if is_dynamic(exported) else ["Expand"])
        assert refused == {"Squeeze", "Unsqueeze"}
    else:
        # 7.1 averages over all axes and says nothing; every size behind that is known, and wrong.
        assert "ReduceMean" in refused
        mean = next(facts for facts in table.tensors if facts.op == "ReduceMean")
        assert mean.tensorrt == (1, 1, 1, 1)
        assert mean.differs


@needs_tensorrt
def test_the_installed_parser_loses_nothing(exported: Model) -> None:
    table = tripoint.shapes(exported, target="installed")
    assert table.summary.lost_dims == 0
    assert table.summary.not_seen == 0
    assert table.refusals == ()


def test_source_lines_survive(exported: Model) -> None:
    fixed = tripoint.fix(exported, target="7.1", numeric=False).model
    table = tripoint.shapes(fixed, target="7.1")
    lines = {facts.op: facts.source for facts in table.tensors if facts.op}
    assert all(source is not None and source.file.endswith("eca.py") for source in lines.values())
    rules = [
        node.metadata_props.get("pkg.onnxscript.rewriter.rule_name", "") for node in fixed.ir.graph
    ]
    assert sum("tripoint.conv1d-between-squeezes" in rule for rule in rules) == 3
    assert operators(fixed).count("Expand") == 0


def test_weights_are_carried_over(exported: Model) -> None:
    fixed = tripoint.fix(exported, target="7.1", numeric=False).model

    def kernels(model: Model) -> list[np.ndarray]:
        values = model.ir.graph.initializers.values()
        return sorted((v.const_value.numpy().ravel() for v in values if is_float(v)), key=len)

    def is_float(value: ir.Value) -> bool:
        return value.const_value is not None and value.const_value.dtype == ir.DataType.FLOAT

    for before, after in zip(kernels(exported), kernels(fixed), strict=True):
        np.testing.assert_array_equal(before, after)
