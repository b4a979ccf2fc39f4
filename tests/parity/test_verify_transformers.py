"""Models of transformers, exported both ways with dynamic sizes, compared with ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from tests.helpers.hf_models import CASES
from tripoint import api
from tripoint.model import Model
from tripoint.parity.results import Verification
from tripoint.sources.python import TorchModel
from tripoint.spec import Spec

pytestmark = pytest.mark.needs_torch

pytest.importorskip("transformers", reason="transformers is not installed: pip install '.[dev]'")

ALIKE = {("bert", "dynamo"), ("distilbert", "dynamo"), ("gpt2", "dynamo"), ("segformer", "dynamo")}
"""Exports whose model another exporter, and whose exporter other models, go through already."""

EXPORTS = [
    pytest.param(name, exporter, marks=[pytest.mark.slow] if (name, exporter) in ALIKE else [])
    for name, case in CASES.items()
    for exporter in case.exporters
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def module_of(name: str) -> TorchModel:
    torch.manual_seed(0)
    return TorchModel.of(CASES[name].make())


def names_of(result: Verification) -> set[str]:
    return {entry.name for point in result.points for entry in point.outputs}


@pytest.mark.parametrize(("name", "exporter"), EXPORTS)
def test_pytorch_and_onnx_runtime_agree(name: str, exporter: str, tmp_path: Path) -> None:
    case, module = CASES[name], module_of(name)
    spec = Spec.parse(case.inputs, case.dims)
    exported = api.export(module, tmp_path / "model.onnx", spec=spec, exporter=exporter)
    result = api.verify(exported.model, torch=module, spec=Spec(dims=exported.symbols))
    assert result.verdict == "unproven"
    assert result.reasons == ("TensorRT was not run: no engine was given",)
    assert result.notes == ()
    assert all(entry.equal for point in result.points for entry in point.outputs)
    assert set(case.outputs) <= names_of(result)
    # Every size of the batch was tried, and every check could be made.
    assert {point.sizes["N"] for point in result.points} == {1, 2, 3, 4, 5}
    assert {check.status for check in result.metamorphic} == {"equal"}
    assert len(result.metamorphic) == 8


def test_a_scaled_weight_of_a_transformer_is_found(tmp_path: Path) -> None:
    case, module = CASES["bert"], module_of("bert")
    spec = Spec.parse(case.inputs, case.dims)
    exported = api.export(module, tmp_path / "m.onnx", spec=spec, exporter="torchscript")
    graph = exported.model.ir.clone(deep_copy=True)
    weight = graph.graph.initializers["encoder.layer.0.intermediate.dense.bias"]
    assert weight.const_value is not None
    changed = np.array(weight.const_value.numpy())
    changed[3] += 1e-3
    weight.const_value = ir.tensor(changed, name=weight.name)
    result = api.verify(Model(graph), torch=module, spec=Spec(dims=exported.symbols))
    assert result.verdict == "different"
    assert result.permutation is None
