"""From a MODEL argument to an ONNX file whose nodes know their PyTorch lines."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

import onnx_ir as ir
import pytest
import torch
from torch import nn

from tests.helpers.paths import EXAMPLES
from tripoint import model as models
from tripoint.errors import (
    ExternalStepError,
    InputError,
    MissingDependencyError,
    OutputError,
    UsageError,
)
from tripoint.graph.source_lines import STACK_TRACE, source_of
from tripoint.sources.flatten import flatten
from tripoint.sources.python import TorchModel, load_module
from tripoint.sources.reference import OnnxReference, PythonReference, parse
from tripoint.sources.torch_export import Export, export
from tripoint.spec import Range, Spec

pytestmark = pytest.mark.needs_torch

ECA, TEXT = EXAMPLES / "eca.py", EXAMPLES / "text_encoder.py"
EXPORTERS = ("dynamo", "torchscript")
SPECS = {
    "eca-static": (ECA, Spec.parse(["x:1x3x5x5"])),
    "eca-dynamic": (ECA, Spec.parse(["x:1..2..8x3x5..6..9xW"], ["W=5..7..9"])),
    "text-static": (TEXT, Spec.parse()),
    "text-dynamic": (TEXT, Spec.parse(["ids:Nx12", "mask:Nx12@int64"], ["N=1..2..8"])),
}


def loaded(text: str) -> TorchModel:
    reference = parse(text)
    assert isinstance(reference, PythonReference)
    return load_module(reference)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Export]:
    folder = tmp_path_factory.mktemp("exports")
    return {
        (name, exporter): export(
            loaded(f"{file}:model"),
            folder / f"{name}-{exporter}.onnx",
            spec=spec,
            exporter=exporter,
        )
        for name, (file, spec) in SPECS.items()
        for exporter in EXPORTERS
    }


# References


def test_onnx_files_are_told_from_python(tmp_path: Path) -> None:
    for name in ("net.onnx", "net.onnxtxt", "a:b.onnx"):
        (tmp_path / name).touch()
        assert parse(str(tmp_path / name)) == OnnxReference(tmp_path / name)
    assert parse(f"{ECA}:model") == PythonReference(ECA, "model")
    assert parse("package.module:Net") == PythonReference("package.module", "Net")


def test_names_are_split_off_at_the_last_colon(tmp_path: Path) -> None:
    file = tmp_path / "C:net.py"
    file.touch()
    assert parse(f"{file}:model") == PythonReference(file, "model")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("missing.onnx", InputError, "missing.onnx: no such file"),
        ("missing.py:model", InputError, "missing.py: no such file"),
        ("missing.py", InputError, "missing.py: no such file"),
        (str(ECA), UsageError, r"needs the name(.|\n)*eca.py:NAME; it has .*Net, model"),
        (f"{ECA}:", UsageError, "needs the name"),
        ("model.pt", UsageError, "what kind of model 'model.pt'(.|\n)*model.onnx, model.onnxtxt"),
        ("model", UsageError, "what kind of model"),
        ("net.onnx:main", UsageError, "takes no name"),
        (str(EXAMPLES), UsageError, "is a folder"),
    ],
)
def test_a_bad_reference_says_what_is_wrong(
    text: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        parse(text)


# Python code


def write(folder: Path, text: str) -> Path:
    file = folder / "net.py"
    file.write_text(textwrap.dedent(text))
    return file


def test_modules_classes_and_factories_are_all_accepted(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("WIDTH = 4\n")
    file = write(
        tmp_path,
        """
        import torch
        from torch import nn
        from beside import WIDTH

        class Net(nn.Linear):
            def __init__(self):
                super().__init__(3, WIDTH)
        instance = Net()
        def factory(): return Net()
        def with_tensor(): return Net(), torch.zeros(2, 3)
        def with_tuple(): return Net(), (torch.zeros(2, 3),)
        def with_dict(): return Net(), {"input": torch.zeros(2, 3)}
        """,
    )
    for name in ("instance", "Net", "factory", "with_tensor", "with_tuple", "with_dict"):
        model = loaded(f"{file}:{name}")
        assert not model.module.training
        assert model.input_names == ("input",)
        assert list(model.example_inputs) == (["input"] if name.startswith("with") else [])
    assert not list(tmp_path.glob("__pycache__/net*"))


def test_the_weights_are_the_same_every_time() -> None:
    first, second = (loaded(f"{ECA}:model").module.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_the_random_state_of_the_caller_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    loaded(f"{ECA}:model")
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_module_by_its_dotted_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "from torch import nn\nmodel = nn.Linear(2, 2)\n").rename(
        tmp_path / "dotted_net.py"
    )
    monkeypatch.chdir(tmp_path)
    assert isinstance(loaded("dotted_net:model").module, nn.Linear)
    with pytest.raises(InputError, match="there is no module no_such_module"):
        loaded("no_such_module:model")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("def model(:\n", r"SyntaxError: .*net.py:1\)"),
        ("x = 1\nimport no_such_package\n", r"ModuleNotFoundError: .*net.py:2\)"),
        ("def make():\n    pass\nclass Net:\n    pass\n", "no 'model'(.|\n)*it has make, Net"),
        (
            "def model():\n    raise ValueError('too small')\n",
            r"ValueError: too small .*net.py:2\)",
        ),
        ("def model():\n    return 3\n", "model gives a int, not a module"),
        ("def model(size):\n    pass\n", "TypeError"),
        ("raise SystemExit(1)\n", "SystemExit"),
        (
            "from torch import nn\ndef model():\n    return nn.Linear(2, 2), 7\n",
            "the example inputs are a int",
        ),
        (
            "import torch\ndef model():\n    return torch.nn.ReLU(), {'y': torch.zeros(1)}\n",
            "example input 'y', but forward takes input",
        ),
    ],
)
def test_broken_python_is_reported_with_its_line(tmp_path: Path, code: str, message: str) -> None:
    file = write(tmp_path, code)
    with pytest.raises(InputError, match=message) as caught:
        loaded(f"{file}:model")
    assert "Traceback" not in str(caught.value)


def test_without_torch_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependencyError, match=r"tripoint\[torch\]"):
        loaded(f"{ECA}:model")


def test_importing_the_sources_imports_no_torch() -> None:
    names = "torch_export, python, reference, flatten, normalize"
    code = (
        f"import sys; from tripoint.sources import {names}; "
        "from tripoint.graph import source_lines; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# Output names


def test_outputs_are_named_by_their_place() -> None:
    a, b = torch.zeros(1), torch.ones(1)
    point = namedtuple("point", "x y")

    @dataclass
    class Result:
        scores: torch.Tensor
        past: tuple[torch.Tensor, ...]

    assert list(flatten(a)) == ["output"]
    assert list(flatten((a, None, b))) == ["output_0", "output_2"]
    assert list(flatten({"b": a, "a": {"c": b}})) == ["b", "a.c"]
    assert list(flatten(point(a, b))) == ["x", "y"]
    assert list(flatten(Result(a, (a, b)))) == ["scores", "past.0", "past.1"]
    for value, message in ((3, "a int"), ((a, "text"), "output_1"), ([], "no tensor")):
        with pytest.raises(InputError, match=message):
            flatten(value)
    with pytest.raises(InputError, match=r"both named 'a\.b'"):
        flatten({"a.b": a, "a": {"b": b}})


# Exports


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("name", SPECS)
def test_every_node_knows_its_line(
    exports: dict[tuple[str, str], Export], name: str, exporter: str
) -> None:
    file = SPECS[name][0]
    lines = file.read_text().splitlines()
    for node in exports[name, exporter].model.ir.graph.all_nodes():
        source = source_of(node)
        assert source is not None
        assert Path(source.file).resolve() == file.resolve()
        assert lines[source.line - 1].strip()
        assert not node.doc_string
        assert "tripoint/sources" not in node.metadata_props[STACK_TRACE]


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_interface_of_a_dynamic_export(
    exports: dict[tuple[str, str], Export], exporter: str
) -> None:
    eca = exports["eca-dynamic", exporter]
    assert eca.symbols == {"x_dim0": Range(1, 2, 8), "x_dim2": Range(5, 6, 9), "W": Range(5, 7, 9)}
    assert [str(dim) for dim in eca.model.ir.graph.inputs[0].shape or ()] == [
        *("x_dim0", "3", "x_dim2", "W"),
    ]
    assert eca.output_names == ("output",)
    assert tuple(eca.example_inputs["x"].shape) == (2, 3, 6, 7)
    text = exports["text-dynamic", exporter]
    assert text.symbols == {"N": Range(1, 2, 8)}
    assert [value.name for value in text.model.ir.graph.inputs] == ["ids", "mask"]
    assert text.output_names == ("pooled",)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_static_export_has_no_symbol(
    exports: dict[tuple[str, str], Export], exporter: str
) -> None:
    eca = exports["eca-static", exporter]
    assert not eca.symbols
    for value in (*eca.model.ir.graph.inputs, *eca.model.ir.graph.outputs):
        assert value.shape is not None
        assert value.shape.is_static()


def test_the_exporters_print_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    done = export(
        loaded(f"{ECA}:model"),
        tmp_path / "a.onnx",
        spec=Spec.parse(["1x3x5x5"]),
        exporter="torchscript",
    )
    assert capfd.readouterr() == ("", "")
    assert "Exported graph" in done.log


def test_an_existing_file_is_kept_without_force(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.write_text("mine")
    model, spec = loaded(f"{ECA}:model"), Spec.parse(["1x3x5x5"])
    with pytest.raises(OutputError, match="exists"):
        export(model, path, spec=spec, exporter="torchscript")
    assert path.read_text() == "mine"
    export(model, path, spec=spec, exporter="torchscript", force=True)
    assert models.load(path).nodes > 0
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("file", "inputs", "dims", "message"),
    [
        (ECA, [], [], "neither a shape nor an example(.|\n)*--input x:"),
        (ECA, ["y:1x3x5x5"], [], "no input named 'y'"),
        (ECA, ["x:Nx3x5x5"], [], "dimension N of input 'x' has no range(.|\n)*--dim N="),
        (ECA, ["x:1x3x5x5"], ["N=1..2"], "no input uses the dimension N"),
        (TEXT, ["ids:2x12x1"], [], "'ids' is given 3 dims, its example has 2"),
        (TEXT, ["ids:2x12@int32"], [], "given as int32, its example is int64"),
        (TEXT, ["2x12"], [], "2 inputs, so each needs its name"),
    ],
)
def test_inputs_that_do_not_fit_the_module(
    tmp_path: Path, file: Path, inputs: list[str], dims: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        export(loaded(f"{file}:model"), tmp_path / "a.onnx", spec=Spec.parse(inputs, dims))
    assert not list(tmp_path.iterdir())


def test_a_shape_that_forward_cannot_take_names_the_line(tmp_path: Path) -> None:
    model = loaded(f"{ECA}:model")
    with pytest.raises(InputError, match=r"forward failed with x float32\[1, 4, 5, 5\].*eca.py:45"):
        export(model, tmp_path / "a.onnx", spec=Spec.parse(["1x4x5x5"]))
    assert not list(tmp_path.iterdir())


def test_ids_stay_in_the_range_of_the_example(exports: dict[tuple[str, str], Export]) -> None:
    model = loaded(f"{TEXT}:model")
    example = model.example_inputs["ids"]
    generated = exports["text-dynamic", "torchscript"].example_inputs["ids"]
    assert generated.min() >= example.min()
    assert generated.max() <= example.max()


class Odd(nn.Module):
    """Takes what exporters stumble over: a keyword, a default, an unused input, a dataclass."""

    @dataclass
    class Out:
        second: torch.Tensor
        first: torch.Tensor

    def forward(
        self,
        x: torch.Tensor,
        unused: torch.Tensor,  # noqa: ARG002
        scale: float = 2.0,
        *,
        y: torch.Tensor,
    ) -> Odd.Out:
        return Odd.Out(x * scale, y + x)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_an_odd_interface_survives(tmp_path: Path, exporter: str) -> None:
    spec = Spec.parse(["x:2x3", "unused:2x3", "y:2x3"])
    done = export(TorchModel.of(Odd()), tmp_path / "a.onnx", spec=spec, exporter=exporter)
    assert [value.name for value in done.model.ir.graph.inputs] == ["x", "unused", "y"]
    assert done.output_names == ("second", "first")


class Frozen(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(2, 3)


def test_a_dim_that_forward_fixes_is_not_silently_static(tmp_path: Path) -> None:
    with pytest.raises(ExternalStepError, match=r"axis 0 of input x was to be x_dim0=1..2..4"):
        export(TorchModel.of(Frozen()), tmp_path / "a.onnx", spec=Spec.parse(["1..2..4x3"]))


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_a_refusal_of_torch_fits_on_the_screen(tmp_path: Path) -> None:
    with pytest.raises(ExternalStepError, match="dynamo exporter refuses: Guard") as caught:
        export(TorchModel.of(Branching()), tmp_path / "a.onnx", spec=Spec.parse(["2x3"]))
    assert "test_sources.py:" in str(caught.value)
    assert len(str(caught.value)) < 500
    assert not list(tmp_path.iterdir())


# Source lines


def test_nothing_of_the_exporter_reaches_the_screen(examples: Path, tmp_path: Path) -> None:
    """Also what native code leaves in a buffer until the process ends."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    reference, path = f"{examples / 'eca.py'}:model", tmp_path / "eca.onnx"
    program = (
        "import tripoint; from tripoint.spec import Spec; tripoint.export("
        f"{reference!r}, {str(path)!r}, spec=Spec.parse(['x:1x3x5x5']), exporter='torchscript')"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True
    )
    assert (ran.stdout, ran.stderr) == (b"", b"")
    assert path.exists()


OWN, LIBRARY = "/home/me/net.py", "/v/lib/python3.11/site-packages"


@pytest.mark.parametrize(
    ("dynamo", "doc_string", "expected"),
    [
        (
            f'File "{OWN}", line 3, in forward\n    y = f(x)\n  File "{OWN}", line 9, in f\n'
            f'    return c(x)\n  File "{LIBRARY}/torch/nn/modules/conv.py", line 5, in forward',
            None,
            f"{OWN}:9",
        ),
        (
            None,
            f"{LIBRARY}/torch/nn/functional.py(7): pool\n{OWN}(8): forward\n{OWN}(2): main\n",
            f"{OWN}:8",
        ),
        (None, f"# {OWN}:437:0", f"{OWN}:437"),
        (
            f'File "{LIBRARY}/timm/net.py", line 4, in forward\n'
            f'  File "{LIBRARY}/torch/nn/modules/conv.py", line 5, in forward',
            None,
            f"{LIBRARY}/timm/net.py:4",
        ),
        ('File "torch/fx/passes/runtime_assert.py", line 24, in f', None, None),
        (None, "a comment of another tool", None),
        (None, None, None),
    ],
)
def test_the_deepest_own_frame_counts(
    dynamo: str | None, doc_string: str | None, expected: str | None
) -> None:
    node = ir.Node("", "Relu", [], doc_string=doc_string)
    if dynamo:
        node.metadata_props[STACK_TRACE] = dynamo
    found = source_of(node)
    if expected is None and dynamo:
        expected = "torch/fx/passes/runtime_assert.py:24"
    assert (str(found) if found else None) == expected


def test_paths_below_the_current_folder_are_relative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLES.parent)
    node = ir.Node("", "Relu", [], doc_string=f"{ECA.resolve()}(30): forward")
    assert str(source_of(node)) == "examples/eca.py:30"
