"""A module that is not as it was exported: the node, with what file and module have there."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import tripoint
from tripoint.errors import UsageError
from tripoint.model import Model
from tripoint.sources.python import TorchModel
from tripoint.sources.torch_export import export
from tripoint.spec import Spec

pytestmark = pytest.mark.needs_torch

EXPORTERS = ("dynamo", "torchscript")


class Net(nn.Module):
    def __init__(self, **new: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.new = new
        self.norm = nn.LayerNorm(8, eps=new.get("eps", 1e-5))
        self.inner, self.outer = nn.Linear(8, 8), nn.Linear(8, 4)
        with torch.no_grad():
            self.outer.bias[1] += new.get("bias", 0.0)
            self.inner.weight[2, 3] += new.get("weight", 0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        act = {"relu": torch.relu, "tanh": torch.tanh, "silu": nn.functional.silu}
        y = act[self.new.get("act", "relu")](self.inner(self.norm(x) * self.new.get("scale", 2.0)))
        if self.new.get("more"):
            y = y * 1.5
        z = y - y.mean(1, keepdim=True)
        z = z / (z.pow(2).mean(-1, keepdim=True) + self.new.get("least", 1e-3)).sqrt()
        p = torch.softmax(z @ z.transpose(1, 2) / 3.0, self.new.get("axis", -1))
        return self.outer(p @ z).sigmoid() * self.new.get("last", 3.0)


def of(**new: Any) -> TorchModel:
    torch.manual_seed(1)
    return TorchModel.of(Net(**new), torch.randn(2, 5, 8))


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("changed")
    return {
        name: export(of(), folder / f"{name}.onnx", spec=Spec(), exporter=name).model
        for name in EXPORTERS
    }


CHANGED: dict[str, tuple[dict[str, Any], str, str]] = {
    "constant": ({"scale": 2.5}, "Mul", "is 2 in the file, 2.5 in the module"),
    "constant in a normalization": ({"least": 0.1}, "Add", "is 0.001 in the file, 0.1 in"),
    "epsilon": ({"eps": 0.01}, "LayerNormalization", "epsilon is 1e-05 in the file, 0.01 in"),
    "axis": ({"axis": 1}, "Softmax", "axis is -1 in the file, 1 in the module"),
    "bias": ({"bias": 0.5}, "Add", "constant outer.bias is ["),
    "weight": ({"weight": 0.5}, "MatMul", "differs in 1 of 64 elements, such as [3, 2]"),
    "activation": ({"act": "tanh"}, "Relu", "Relu in the file, Tanh (test_changed_nodes.py:"),
    "activation of two nodes": ({"act": "silu"}, "Relu", "Relu in the file, Sigmoid, Mul in"),
    "one node more": ({"more": True}, "ReduceMean", "in the file, the Mul"),
}


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", CHANGED)
def test_the_culprit_is_the_node_that_was_changed(
    name: str, exporter: str, exports: dict[str, Model]
) -> None:
    new, op, text = CHANGED[name]
    found = tripoint.locate(exports[exporter], torch=of(**new))
    assert found.culprit is not None
    assert found.culprit.op == op
    assert len(found.culprit.nodes) == 1
    assert text in re.sub(r"\(\S*/", "(", found.culprit.changed[0])
    assert "epsilon" not in " ".join(found.notes)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_each_changed_constant_is_told(exporter: str, exports: dict[str, Model]) -> None:
    found = tripoint.locate(exports[exporter], torch=of(scale=2.5, last=4.0))
    assert found.culprit is not None
    assert "2.5 in the module" in found.culprit.changed[0]
    assert [each.op for each in found.others] == ["Mul"]
    assert "is 3 in the file, 4 in the module" in found.others[0].changed[0]


def test_known_outputs_alone_give_no_culprit(exports: dict[str, Model]) -> None:
    x = np.random.default_rng(0).standard_normal((2, 5, 8)).astype(np.float32)
    shifted = {"output": np.zeros((2, 5, 4), np.float32)}
    found = tripoint.locate(exports["torchscript"], expected=shifted, inputs=[{"x": x}])
    assert (found.verdict, found.culprit, found.others) == ("different", None, ())
    count = sum(node.op_type != "Constant" for node in exports["torchscript"].ir.graph)
    assert f"not narrowed: only the outputs are known, {count} nodes lie before it" in found.reasons


def test_recorded_arrays_of_other_names_are_refused(exports: dict[str, Model]) -> None:
    x = np.zeros((2, 5, 8), np.float32)
    with pytest.raises(UsageError, match=r"called y; the outputs of the ONNX file are output"):
        tripoint.locate(exports["dynamo"], expected={"y": x}, inputs=[{"x": x}])
