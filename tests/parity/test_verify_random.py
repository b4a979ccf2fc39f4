"""Random numbers in a graph: what lies behind them is not compared, and all else is."""

from __future__ import annotations

import onnx.parser
import onnx_ir as ir
import pytest
import torch

import tripoint
from tripoint.model import Model
from tripoint.parity.results import Verification
from tripoint.sources.python import TorchModel

pytestmark = pytest.mark.needs_torch

DRAWS = {
    "RandomNormalLike": "r = RandomNormalLike(h)",
    "RandomNormal": "r = RandomNormal<shape = [2, 4]>()",
    "RandomUniform": "r = RandomUniform<shape = [2, 4]>()",
    "RandomUniformLike": "r = RandomUniformLike(h)",
    "Bernoulli": "p = Sigmoid(h) r = Bernoulli(p)",
    "Multinomial": "i = Multinomial<sample_size = 4>(h) r = Cast<to = 1>(i)",
    "Dropout": "r, m = Dropout(h, half, yes)",
    "If": """c = ReduceMean<keepdims = 0>(h) d = Less(c, c) r = If(d) <
        then_branch = one () => (float[2, 4] u) { u = RandomNormalLike(h) },
        else_branch = two () => (float[2, 4] v) { v = RandomUniformLike(h) }>""",
}


def model(draw: str) -> Model:
    text = f"""<ir_version: 9, opset_import: ["" : 18]>
        g (float[2, 4] x) => (float[2, 4] y, float[2, 4] z)
        <float b = {{0.5}}, float half = {{0.5}}, bool yes = {{1}}, bool no = {{0}}> {{
            h = Add(x, b)
            {draw}
            y = Add(h, r)
            z = Mul(h, b)
        }}"""
    return Model(ir.from_proto(onnx.parser.parse_model(text)))


class Like(torch.nn.Module):
    """As the graph, with noise of its own."""

    def __init__(self, factor: float = 0.5) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        h = x + 0.5
        return {"y": h + torch.randn_like(h), "z": h * self.factor}


def verified(draw: str, factor: float = 0.5) -> Verification:
    return tripoint.verify(model(draw), torch=TorchModel.of(Like(factor), torch.randn(2, 4)))


@pytest.mark.parametrize("name", DRAWS)
def test_outputs_behind_a_draw_are_not_called_different(name: str) -> None:
    found = verified(DRAWS[name])
    assert found.verdict == "unproven"
    behind = [reason for reason in found.reasons if "random numbers" in reason]
    assert len(behind) == 1
    assert "output y depends on random numbers that" in behind[0]
    assert name in behind[0]
    statuses = {entry.name: entry.status for point in found.points for entry in point.outputs}
    assert statuses == {"y": "random", "z": "equal"}
    assert not any(check.status == "different" for check in found.metamorphic)
    assert found.next is None
    assert any("make these an input of the model" in note for note in found.notes)


def test_an_output_beside_a_draw_is_compared() -> None:
    found = verified(DRAWS["Bernoulli"], factor=0.75)
    assert found.verdict == "different"
    assert "output z is different" in found.reasons[0]


class Steady(Like):
    """As the graph, without noise."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        h = x + 0.5
        return {"y": h + h, "z": h * self.factor}


@pytest.mark.parametrize("name", ["Dropout", "RandomNormalLike", "Bernoulli"])
def test_a_file_that_draws_where_the_module_does_not_is_different(name: str) -> None:
    module = TorchModel.of(Steady(), torch.randn(2, 4))
    found = tripoint.verify(model(DRAWS[name]), torch=module)
    assert found.verdict == "different"
    assert "output y is different" in found.reasons[0]
    assert any(
        "draws random numbers, PyTorch none" in str(entry.detail)
        for point in found.points
        for entry in point.outputs
    )


def test_a_model_alone_that_draws_is_not_different() -> None:
    found = tripoint.verify(model(DRAWS["Multinomial"]))
    assert found.verdict == "unproven"
    assert not any(check.status == "different" for check in found.metamorphic)


def test_a_dropout_that_drops_nothing_draws_nothing() -> None:
    found = verified("r, m = Dropout(h, half, no)")
    assert found.verdict == "different"
    assert any("output y is different" in reason for reason in found.reasons)
    assert any("PyTorch: second run repeats" in reason for reason in found.reasons)
