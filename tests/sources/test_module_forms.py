"""Modules as people have them: of TorchScript, wrapped, with inputs of all kinds."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tripoint import model as models
from tripoint.errors import InputError, UsageError
from tripoint.numeric.ort import Session
from tripoint.parity.legs.torch import TorchLeg
from tripoint.parity.verify import verify
from tripoint.sources.python import TorchModel
from tripoint.sources.torch_export import Export, export
from tripoint.spec import Spec

pytestmark = pytest.mark.needs_torch

X = torch.linspace(-1, 1, 24).reshape(3, 8)
Pair = namedtuple("Pair", "first second")


@dataclass
class Batch:
    """A batch as data loaders give it."""

    x: Tensor
    mask: Tensor | None = None

    def __post_init__(self) -> None:
        assert isinstance(self.x, Tensor)


class Linear(nn.Module):
    """A layer, the same every time."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.l = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.l(x)


class Dict(Linear):
    def forward(self, batch: Any) -> Any:
        return self.l(batch["x"]) * batch["in"]["w"]


class Tuples(Linear):
    def forward(self, x: Tensor, state: Any) -> Any:
        return self.l(x) + state[0], (state[0] * 2, state[1])


class Named(Linear):
    def forward(self, pair: Any) -> Any:
        return self.l(pair.first) - pair.second


class Data(Linear):
    def forward(self, batch: Batch) -> Any:
        y = self.l(batch.x)
        return y if batch.mask is None else y * batch.mask


class Flag(Linear):
    def forward(self, x: Tensor, use_cache: bool = True, kind: str = "a") -> Any:
        return self.l(x), (x if use_cache else None), (x * 2 if kind == "a" else x * 3)


class OptionalMask(Linear):
    def forward(self, x: Tensor, m: Tensor | None = None) -> Any:
        return self.l(x) if m is None else self.l(x) * m


class Variadic(Linear):
    def forward(self, x: Tensor, *args: Tensor, **more: Any) -> Any:
        return self.l(x) + args[0] - 2 * args[1] + more.get("bias", 0)


class PlaceOnly(Linear):
    def forward(self, x: Tensor, y: Tensor, /, *, scale: float) -> Any:
        return (self.l(x) - y) * scale


class InPlace(Linear):
    def forward(self, x: Tensor) -> Tensor:
        x.mul_(2).add_(1)
        return self.l(x)


FORMS: dict[str, tuple[nn.Module, Any, list[str]]] = {
    "dict": (Dict(), ({"x": X, "in": {"w": torch.tensor(2.0)}},), ["batch_x", "batch_in_w"]),
    "tuple": (Tuples(), (X, (X, [X])), ["x", "state_0", "state_1_0"]),
    "named tuple": (Named(), (Pair(X, X),), ["pair_first", "pair_second"]),
    "dataclass": (Data(), (Batch(X, X > 0),), ["batch_x", "batch_mask"]),
    "dataclass with None": (Data(), (Batch(X),), ["batch_x"]),
    "flags": (Flag(), {"x": X, "use_cache": False, "kind": "b"}, ["x"]),
    "None": (OptionalMask(), (X, None), ["x"]),
    "args": (Variadic(), (X, X * 2, X * 3), ["x", "args_0", "args_1"]),
    "place only": (PlaceOnly(), {"x": X, "y": X, "scale": 0.5}, ["x", "y"]),
    "in place": (InPlace(), (X,), ["x"]),
    "compiled": (torch.compile(Linear()), (X,), ["x"]),  # type: ignore[dict-item]
    "parallel": (nn.DataParallel(torch.compile(Linear())), (X,), ["x"]),
}


def exported(model: TorchModel, path: Path, exporter: Any = "dynamo") -> Export:
    return export(model, path, spec=Spec(), exporter=exporter)


def compared(made: Export, model: TorchModel) -> set[str]:
    result = verify(made.model, torch=model, bindings=[{}])
    return {entry.status for point in result.points for entry in point.outputs}


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
@pytest.mark.parametrize("form", FORMS)
def test_a_module_of_any_form_is_exported_and_compared(
    tmp_path: Path, form: str, exporter: str
) -> None:
    module, examples, names = FORMS[form]
    model = TorchModel.of(module, examples)
    made = exported(model, tmp_path / "m.onnx", exporter)
    assert list(made.example_inputs) == names
    assert compared(made, model) == {"equal"}
    session = Session(made.model)
    got = session.run({name: tensor.numpy() for name, tensor in made.example_inputs.items()})
    want = model(made.example_inputs)
    first = want[0] if isinstance(want, tuple) else want
    assert isinstance(first, Tensor)
    np.testing.assert_allclose(got[0], first.detach().numpy(), atol=1e-5)


def test_what_the_module_changes_are_copies() -> None:
    before = X.clone()
    model = TorchModel.of(InPlace(), X)
    assert torch.equal(torch.as_tensor(model({"x": X})), torch.as_tensor(model({"x": X})))
    assert torch.equal(X, before)


def test_one_tensor_may_stand_for_several_inputs(tmp_path: Path) -> None:
    class Three(nn.Module):
        def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            return q - 2 * k + 3 * v

    model = TorchModel.of(Three(), (X, X, X[:]))
    for exporter in ("dynamo", "torchscript"):
        made = exported(model, tmp_path / f"{exporter}.onnx", exporter)
        read = {value.name for node in made.model.ir.graph for value in node.inputs if value}
        assert {"q", "k", "v"} <= read


def test_constants_are_told() -> None:
    notes = TorchModel.of(*FORMS["flags"][:2]).notes
    assert any("use_cache = False" in note for note in notes)
    assert any("m = None" in note for note in TorchModel.of(*FORMS["None"][:2]).notes)


def test_an_input_without_tensor_may_still_be_given(tmp_path: Path) -> None:
    model = TorchModel.of(OptionalMask(), (X, None))
    made = export(model, tmp_path / "m.onnx", spec=Spec.parse(["x:3x8", "m:3x8"], []))
    assert list(made.example_inputs) == ["x", "m"]
    assert compared(made, model) == {"equal"}


def test_names_of_entries_are_distinct() -> None:
    class Clash(nn.Module):
        def forward(self, a_x: Tensor, a: Any) -> Any:
            return a_x + a["x"]

    model = TorchModel.of(Clash(), (X, {"x": X}))
    assert model.input_names == ("a_x", "a_x_2")


@pytest.mark.parametrize("exporter", ["dynamo", "torchscript"])
def test_modules_of_torchscript(tmp_path: Path, exporter: str) -> None:
    class Branch(Linear):
        def forward(self, x: Tensor, scale: float = 2.0) -> Tensor:
            if bool(x.sum() > 0):
                return self.l(x)
            return self.l(x) * scale

    path = tmp_path / "saved.pt"
    torch.jit.save(torch.jit.trace(Linear(), X), str(path))
    modules = {
        "script": torch.jit.script(Branch()),
        "trace": torch.jit.trace(Linear(), X),
        "load": torch.jit.load(str(path)),
    }
    for name, module in modules.items():
        model = TorchModel.of(module, (X,))
        made = exported(model, tmp_path / f"{name}.onnx", exporter)
        assert made.exporter == "torchscript"
        assert any("TorchScript" in note for note in made.notes) == (exporter == "dynamo")
        assert compared(made, model) == {"equal"}


def test_wrappers_are_told_also_inside() -> None:
    inside = nn.Sequential(torch.compile(Linear()), nn.DataParallel(Linear()))
    model = TorchModel.of(inside, X)
    assert [type(each) for each in model.module.children()] == [Linear, Linear]
    assert any("torch.compile is taken off" in note for note in model.notes)
    assert any("DataParallel is taken off" in note for note in model.notes)
    assert TorchModel.of(Linear(), X).notes == ()


@pytest.mark.parametrize(
    ("module", "examples", "message"),
    [
        (Linear(), (X, X), "2 example inputs, but forward takes 1"),
        (Linear(), {"y": X}, "'y', but forward takes x"),
        (Linear(), (object(),), "'x' is a object, not a tensor"),
        (Dict(), ({"x": np.zeros(3)},), "'batch' at x is a ndarray"),
        (Variadic(), None, r"forward takes \*args"),
    ],
)
def test_examples_that_do_not_fit(module: nn.Module, examples: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        TorchModel.of(module, examples)


class Two(Linear):
    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.l(a) - b


def test_inputs_of_a_file_under_other_names(tmp_path: Path) -> None:
    path = tmp_path / "two.onnx"
    torch.onnx.export(
        Two().eval(), (X, X.clone()), str(path), dynamo=False, input_names=["image", "mask"]
    )
    file, model = models.load(path), TorchModel.of(Two(), (X, X))
    with pytest.raises(UsageError) as error:
        verify(file, torch=model, bindings=[{}])
    assert "--input-names" in (error.value.hint or "")
    right = verify(file, torch=model, bindings=[{}], input_names=["image", "mask"])
    wrong = verify(file, torch=model, bindings=[{}], input_names=["mask", "image"])
    assert {each.status for each in right.points[0].outputs} == {"equal"}
    assert {each.status for each in wrong.points[0].outputs} == {"different"}
    for names in (["image"], ["image", "image"], ["image", "other"]):
        with pytest.raises(UsageError, match="--input-names"):
            verify(file, torch=model, bindings=[{}], input_names=names)


def test_branches_on_values_are_told_with_their_line(tmp_path: Path) -> None:
    class Branch(Linear):
        def forward(self, x: Tensor) -> Tensor:
            if x.sum() > 100:
                return x * 2
            return x * int(x.max())

    made = exported(TorchModel.of(Branch(), X), tmp_path / "m.onnx", "torchscript")
    line = Branch.forward.__code__.co_firstlineno
    first, second = (note for note in made.notes if "TracerWarning" in note)
    assert f"test_module_forms.py:{line + 1}: a Python branch on tensor values" in first
    assert f"test_module_forms.py:{line + 3}: " in second
    assert f"test_module_forms.py:{line + 1}: TracerWarning" in made.log
    assert exported(TorchModel.of(Linear(), X), tmp_path / "n.onnx", "torchscript").notes == ()


@pytest.mark.parametrize("conjugate", [False, True])
def test_complex_outputs_are_pairs_of_reals(tmp_path: Path, conjugate: bool) -> None:
    class Spectrum(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            window = torch.hann_window(16)
            found = torch.stft(x, 16, 4, window=window, return_complex=True)
            return torch.conj(found) if conjugate else found

    model = TorchModel.of(Spectrum(), (torch.randn(2, 64),))
    made = exported(model, tmp_path / "m.onnx")
    inputs = {name: tensor.numpy() for name, tensor in made.example_inputs.items()}
    (got,), (want,) = Session(made.model).run(inputs), TorchLeg(model).run(inputs).values()
    assert got.shape == want.shape
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_a_complex_input_is_refused_with_what_to_do(tmp_path: Path) -> None:
    class Magnitude(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return z.abs() * 2

    module = TorchModel.of(Magnitude(), torch.randn(2, 4, dtype=torch.complex64))
    with pytest.raises(UsageError, match="input 'z' is complex") as raised:
        export(module, tmp_path / "m.onnx", spec=Spec())
    assert "view_as_complex" in (raised.value.hint or "")
