"""PyTorch against an export that was changed on purpose, for both exporters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

import tripoint
from tripoint.errors import ExternalStepError
from tripoint.model import Model
from tripoint.parity.locate.results import Location
from tripoint.parity.locate.torch import PyTorch
from tripoint.sources.python import TorchModel
from tripoint.sources.torch_export import export
from tripoint.spec import Spec

pytestmark = pytest.mark.needs_torch

DYNAMIC = Spec.parse(["x:Nx3x8x8"], ["N=1..2..4"])
SIZES = Spec.parse([], ["N=1..2..4"])
EXPORTERS = ("dynamo", "torchscript")


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.GELU()
        self.drop = nn.Dropout()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.drop(self.act(self.norm(self.conv(x))))


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.blocks = nn.Sequential(Block(), Block())
        self.head = nn.Linear(4, 6)
        self.ln = nn.LayerNorm(6)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.blocks(torch.relu(self.stem(x)))
        pooled = y.mean((2, 3))
        logits = self.ln(self.head(pooled))
        first, second = logits.split(3, dim=-1)
        return {"p": torch.softmax(logits, -1), "part": first[:, 1:] * second[:, :2]}


@pytest.fixture(scope="module")
def module() -> TorchModel:
    torch.manual_seed(0)
    net = Net()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            # Fresh statistics would make the folded normalization do nothing.
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2)
    return TorchModel.of(net, torch.randn(2, 3, 8, 8))


@pytest.fixture(scope="module")
def exports(module: TorchModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("exports")
    return {
        name: export(module, folder / f"{name}.onnx", spec=DYNAMIC, exporter=name).model
        for name in EXPORTERS
    }


def changed(
    model: Model, op: str, which: int, change: Callable[[ir.Node], None]
) -> tuple[Model, str]:
    """A copy with a change to one node, and the name of that."""
    copy = model.ir.clone()
    node = [node for node in copy.graph if node.op_type == op][which]
    change(node)
    return Model(copy), node.name or ""


def weight(node: ir.Node) -> None:
    value = node.inputs[1]
    assert value is not None
    assert value.const_value is not None
    array = value.const_value.numpy().copy()
    array.flat[3] += 0.25
    value.const_value = ir.tensor(array, name=value.name)


def attribute(name: str, value: Any) -> Callable[[ir.Node], None]:
    def change(node: ir.Node) -> None:
        node.attributes[name] = ir.convenience.convert_attribute(name, value)

    return change


CHANGES = {
    "first weight": ("Conv", 0, weight),
    "folded weight": ("Conv", 2, weight),
    "Gelu by tanh": ("Gelu", 1, attribute("approximate", "tanh")),
    "epsilon": ("LayerNormalization", 0, attribute("epsilon", 0.1)),
    "axis": ("Softmax", 0, attribute("axis", 0)),
}


def locate(module: TorchModel, model: Model, **options: Any) -> Location:
    return tripoint.locate(model, torch=module, spec=SIZES, **options)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_an_export_as_it_is_has_no_culprit(
    exporter: str, module: TorchModel, exports: dict[str, Model]
) -> None:
    found = locate(module, exports[exporter])
    assert found.verdict == "equal"
    assert found.culprit is None


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_export_is_found_at_its_node(
    name: str, exporter: str, module: TorchModel, exports: dict[str, Model]
) -> None:
    model, node = changed(exports[exporter], *CHANGES[name])
    found = locate(module, model)
    assert found.verdict == "different"
    assert found.culprit is not None
    assert found.culprit.nodes == (node,)
    assert found.culprit.node == node
    assert found.others == ()
    assert found.culprit.source is not None
    assert Path(found.culprit.source.file).name == Path(__file__).name
    assert "by an export of the module as it is now" in found.resolution
    word = "constant" if "weight" in name else "attribute"
    assert word in found.culprit.changed[0]
    assert "in the file" in found.culprit.changed[0]


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", ["first weight", "epsilon"])
def test_a_module_that_cannot_be_exported_again_gives_what_it_has(
    name: str,
    exporter: str,
    module: TorchModel,
    exports: dict[str, Model],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuses(*_: object) -> None:
        raise ExternalStepError("no luck")

    monkeypatch.setattr(PyTorch, "again", refuses)
    model, node = changed(exports[exporter], *CHANGES[name])
    found = locate(module, model)
    assert found.culprit is not None
    assert node in found.culprit.nodes
    assert found.others == ()
    how = "by FX node" if exporter == "dynamo" else "by module scope"
    assert how in found.resolution
    assert any("no luck" in note for note in found.notes)
    if name == "first weight":
        assert "constant stem.weight differs in 1 of 108 elements" in found.culprit.changed[0]


@pytest.mark.parametrize("sizes", ["N=1..2..4", "N=2"], ids=["ranges known", "ranges unknown"])
def test_slices_are_found_by_fx_node(
    sizes: str, module: TorchModel, exports: dict[str, Model]
) -> None:
    model = exports["dynamo"].ir.clone()
    node = next(node for node in model.graph if node.op_type == "Slice")
    starts, ends = node.inputs[1], node.inputs[2]
    assert starts is not None
    assert ends is not None
    start = ir.Value(
        name="off_by_one",
        type=ir.TensorType(ir.DataType.INT64),
        shape=ir.Shape([1]),
        const_value=ir.tensor(np.array([0]), name="off_by_one"),
    )
    end = ir.Value(
        name="off_by_one_end",
        type=ir.TensorType(ir.DataType.INT64),
        shape=ir.Shape([1]),
        const_value=ir.tensor(np.array([2]), name="off_by_one_end"),
    )
    for value in (start, end):
        model.graph.register_initializer(value)
    node.replace_input_with(1, start)
    node.replace_input_with(2, end)
    found = tripoint.locate(Model(model), torch=module, spec=Spec.parse([], [sizes]))
    assert found.culprit is not None
    assert found.culprit.node == node.name
    assert found.others == ()


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_repro_needs_no_pytorch(
    exporter: str, module: TorchModel, exports: dict[str, Model], tmp_path: Path
) -> None:
    model, node = changed(exports[exporter], *CHANGES["Gelu by tanh"])
    folder = tmp_path / "repro"
    locate(module, model, folder=folder)
    assert "--expected expected.npz" in (folder / "README.md").read_text(encoding="utf-8")
    with np.load(folder / "inputs.npz") as inputs, np.load(folder / "expected.npz") as expected:
        again = tripoint.locate(
            folder / "model.onnx", expected=dict(expected), inputs=[dict(inputs)]
        )
    assert again.culprit is not None
    assert again.culprit.node == node


def test_a_module_that_has_changed_since_is_compared_all_the_same(
    module: TorchModel, exports: dict[str, Model]
) -> None:
    class Other(Net):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
            y = self.blocks(torch.relu(self.stem(x)) * 1.0)
            pooled = torch.nn.functional.adaptive_avg_pool2d(y, 1).reshape(-1, 4)
            logits = self.ln(torch.tanh(self.head(pooled)))
            low, high = logits.chunk(2, dim=-1)
            return {"p": logits.softmax(-1), "part": low.narrow(-1, 1, 2) * high.narrow(-1, 0, 2)}

    other = Other()
    other.load_state_dict(module.module.state_dict())
    found = locate(TorchModel.of(other, torch.randn(2, 3, 8, 8)), exports["dynamo"])
    assert found.verdict == "different"
    assert found.culprit is not None
    assert "of" in found.resolution


def test_a_module_that_is_called_twice_is_not_compared(tmp_path: Path) -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = nn.Linear(4, 4)
            self.out = nn.Linear(4, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(torch.tanh(self.lin(torch.tanh(self.lin(x)))))

    torch.manual_seed(1)
    model = TorchModel.of(Twice(), torch.randn(3, 4))
    exported = export(model, tmp_path / "m.onnx", spec=Spec(), exporter="torchscript").model
    assert tripoint.locate(exported, torch=model).verdict == "equal"
    bad, node = changed(exported, "Gemm", 2, weight)
    found = tripoint.locate(bad, torch=model)
    assert found.culprit is not None
    assert node in found.culprit.nodes


def test_a_forward_that_raises_leaves_it_unproven(exports: dict[str, Model]) -> None:
    class Broken(Net):
        def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:  # noqa: ARG002
            raise RuntimeError("no luck")

    found = locate(TorchModel.of(Broken(), torch.randn(2, 3, 8, 8)), exports["dynamo"])
    assert found.verdict == "unproven"
    assert any("no luck" in (leg.reason or "") for leg in found.legs)
