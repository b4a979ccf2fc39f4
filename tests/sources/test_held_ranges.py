"""Ranges that an exporter does not keep: told at export, by name, with the other exporter tried."""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from torch import nn

import tripoint
from tripoint.errors import ExternalStepError, UsageError
from tripoint.model import Model, load
from tripoint.profiles.constraints import profiles
from tripoint.sources.example_inputs import plan_inputs
from tripoint.sources.held import check
from tripoint.sources.python import TorchModel
from tripoint.sources.torch_export import Export, Exporter, RangeLostError, export
from tripoint.spec import Spec

pytestmark = pytest.mark.needs_torch

SPEC = Spec.parse(["x:3..5..9x1..2..4x4"])


class First(nn.Module):
    """The first output of a recurrent layer."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)[0]


class Loop(nn.Module):
    def forward(self, x):
        state = torch.zeros_like(x[0])
        for step in range(x.shape[0]):
            state = torch.tanh(state + x[step])
        return state


class Divided(nn.Module):
    """Runs at every length, with the numbers of the example's."""

    def forward(self, x):
        return x / float(x.shape[0])


class Literal(nn.Module):
    """Means 5, whatever the sizes are."""

    def forward(self, x):
        return x.view(5, -1).sum(1)


class Sliced(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(16, 1, 4))

    def forward(self, x):
        return x + self.table[: x.shape[0]]


class Scaled(nn.Module):
    """0.3 of 50 is 15, and with 32 bits, in which the tracer computes, a little more."""

    def forward(self, x):
        return x[: math.ceil(x.shape[0] * 0.3)] + 1


class Added(nn.Module):
    def forward(self, x):
        return x + torch.arange(5).view(5, 1, 1)


def exported(module: nn.Module, path: Path, exporter: Exporter = "dynamo") -> Export:
    torch.manual_seed(0)
    return export(TorchModel.of(module.eval()), path / "a.onnx", spec=SPEC, exporter=exporter)


@pytest.mark.parametrize(
    "layer",
    [
        lambda: nn.LSTM(4, 6),
        lambda: nn.GRU(4, 6, num_layers=2, bidirectional=True),
        lambda: nn.RNN(4, 6),
    ],
    ids=["LSTM", "GRU", "RNN"],
)
def test_the_other_exporter_keeps_the_length_of_a_recurrent_layer(layer, tmp_path: Path) -> None:
    module = First(layer())
    done = exported(module, tmp_path)
    assert done.exporter == "torchscript"
    (note,) = done.notes
    assert "x_dim0" in note
    assert "3..5..9" in note
    assert "5" in note
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    for length, batch in ((3, 4), (9, 1), (10, 2)):
        x = torch.randn(length, batch, 4)
        with torch.no_grad():
            expected = module(x).numpy()
        np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], expected, atol=1e-5)


def test_a_layer_with_the_batch_first_is_left_to_the_exporter(tmp_path: Path) -> None:
    done = exported(First(nn.LSTM(4, 6, batch_first=True)), tmp_path)
    assert (done.exporter, done.notes) == ("dynamo", ())


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("module", [Loop(), Divided()], ids=["loop", "divided"])
def test_what_no_exporter_keeps_is_not_written(
    module: nn.Module, exporter: Exporter, tmp_path: Path
) -> None:
    with pytest.raises(RangeLostError) as caught:
        exported(module, tmp_path, exporter)
    other = "torchscript" if exporter == "dynamo" else "dynamo"
    assert "x_dim0" in caught.value.fact
    assert "3..5..9" in caught.value.fact
    assert f"the {other} exporter was tried" in caught.value.fact
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_stayed_is_told_where_the_example_already_differs(tmp_path: Path) -> None:
    module, spec = TorchModel.of(Scaled().eval()), Spec.parse(["x:20..50..70x4"])
    plan = plan_inputs(module, spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.module,
            tuple(plan.tensors.values()),
            tmp_path / "a.onnx",
            dynamo=False,
            input_names=["x"],
            output_names=["y"],
            dynamic_axes={"x": {0: next(iter(plan.symbols))}},
        )
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx")
    rows = [session.run(None, {"x": np.zeros((n, 4), np.float32)})[0].shape[0] for n in (50, 20)]
    assert rows == [16, 16]
    held = check(load(tmp_path / "a.onnx"), module, plan)
    assert [each.size for each in held.stayed] == [50]
    assert "(16, 4), and forward gives (6, 4)" in str(held.stayed[0])
    assert not held.followed


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("module", [Literal(), Sliced()], ids=["literal", "sliced"])
def test_what_forward_does_at_every_size_is_no_loss(
    module: nn.Module, exporter: Exporter, tmp_path: Path
) -> None:
    done = exported(module, tmp_path, exporter)
    assert done.exporter == exporter
    assert not any("asked to range" in note for note in done.notes)


def test_a_range_that_forward_itself_does_not_take_is_told(tmp_path: Path) -> None:
    done = exported(Added(), tmp_path, "torchscript")
    assert done.exporter == "torchscript"
    assert done.notes[0].startswith("forward fails with x_dim0 = 3: RuntimeError: The size")
    with pytest.raises(ExternalStepError, match=r"axis 0 of input x was to be x_dim0=3\.\.5"):
        export(TorchModel.of(Added()), tmp_path / "b.onnx", spec=SPEC)


FROZEN = """<ir_version: 8, opset_import: ["": 18]>
g (float[T,1,N,6] x) => (float[5,M,6] y) <int64[3] s = {5, -1, 6}> {
  a = Relu(x) [flat] y = Reshape(a, s)
}"""


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        (["T=5", "N=1..2..4"], None),
        (["T=5..5..10", "N=1..1..2"], "at max T = 10"),
        (["T=3", "N=5"], "at min T = 3"),
    ],
)
def test_sizes_that_fit_a_frozen_one_by_accident(sizes: list[str], said: str | None) -> None:
    model = Model(ir.from_onnx_text(FROZEN))
    spec = Spec.parse([], sizes)
    found = profiles.frozen_at(model, profiles.checked(model, [spec]))
    assert tripoint.profile(model, specs=[spec]).warnings == found
    if said is None:
        assert found == ()
        return
    (sentence,) = found
    assert sentence.startswith(f"{said}: node 'flat' (Reshape) makes axis 0 of y 5")
    assert "only meant for T = 5" in sentence


TURNED = """<ir_version: 8, opset_import: ["": 18]>
g (float[S,N,8] x) => (float[1,10,M] y) <int64[3] s = {1, 10, -1}> { y = Reshape(x, s) }"""
LONGER = """<ir_version: 8, opset_import: ["": 18]>
g (float[T,N,4] x) => (float[a,b,c] y) <int64[3] s = {5, -1, 4}> {
  a = Concat<axis = 1>(x, x) [flat] y = Reshape(a, s)
}"""


@pytest.mark.parametrize(
    ("text", "sizes", "meant", "right"),
    [
        (FROZEN, ["T=3..5..9", "N=1..2..4"], "T = 5", "--dim T=5"),
        (LONGER, ["T=3..5..9", "N=1..2..4"], "T = 5", "--dim T=5"),
        (TURNED, ["S=3", "N=7"], "S = 1 and N = 10", "--dim S=1 --dim N=10"),
    ],
)
def test_a_refusal_offers_only_what_is_meant(
    text: str, sizes: list[str], meant: str, right: str
) -> None:
    model = Model(ir.from_onnx_text(text))
    with pytest.raises(UsageError) as caught:
        profiles.checked(model, [Spec.parse([], sizes)])
    assert f"only meant for {meant}: a size of the export's example stayed" in caught.value.fact
    assert "N = 5" not in caught.value.fact
    assert caught.value.hint is not None
    assert {*caught.value.hint.split()} == {"for", "instance", *right.split()}
    dims = dict(each.split("=", 1) for each in (*sizes, *right.replace("--dim", "").split()))
    followed = Spec.parse([], [f"{name}={size}" for name, size in dims.items()])
    assert profiles.frozen_at(model, profiles.checked(model, [followed])) == ()


@pytest.mark.parametrize("text", [FROZEN, LONGER, TURNED])
def test_a_proposal_is_what_is_meant(text: str) -> None:
    found = tripoint.profile(Model(ir.from_onnx_text(text)))
    assert found.spellings is not None
    assert found.warnings == ()


def test_what_a_node_needs_is_not_told_twice() -> None:
    text = """<ir_version: 8, opset_import: ["": 18]>
    g (float[N,S,2] x) => (float[N,S,2] y) <float[3,2] p = {1, 2, 3, 4, 5, 6}> { y = Add(x, p) }"""
    with pytest.raises(UsageError, match="needs S == 3 or S == 1; nearest S = 3; axis") as caught:
        profiles.checked(Model(ir.from_onnx_text(text)), [Spec.parse([], ["N=1", "S=3..4..5"])])
    assert caught.value.hint == "for instance --dim S=3"
