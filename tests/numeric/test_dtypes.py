"""bfloat16, float8 and int4 on their way through files, ONNX Runtime, PyTorch and the commands."""

from __future__ import annotations

import functools
import shlex
import zipfile
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from typer.testing import CliRunner

import tripoint
from tripoint import api
from tripoint.cli import app
from tripoint.errors import ExternalStepError, InputError, UsageError
from tripoint.model import Model, save
from tripoint.numeric import npz
from tripoint.numeric.ort import Session
from tripoint.numeric.torch_arrays import to_array, to_tensor
from tripoint.trt import array_ipc

Array = np.ndarray[Any, Any]
FOREIGN = [
    name
    for name in dir(ml_dtypes)
    if isinstance(getattr(ml_dtypes, name), type)
    and issubclass(getattr(ml_dtypes, name), np.generic)
    and "complex" not in name
]
OWN = ["float16", "float32", "float64", "int8", "uint8", "int64", "uint64", "bool", "complex64"]
IN_ORT = {
    "bfloat16": "bfloat16",
    "float8e4m3fn": "float8_e4m3fn",
    "float8e4m3fnuz": "float8_e4m3fnuz",
    "float8e5m2": "float8_e5m2",
    "float8e5m2fnuz": "float8_e5m2fnuz",
    "int4": "int4",
    "uint4": "uint4",
    "int2": "int2",
    "uint2": "uint2",
}
"""Name of the dtype by that of the ONNX element type, for those that ONNX Runtime computes with."""
HEADER = '<ir_version: 13, opset_import: ["" : 25]>\n'


def dtype_of(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))


def text(graph: str) -> Model:
    if not runs_the_newest():
        pytest.skip("this ONNX Runtime is older than IR version 13 and opset 25")
    return parsed(graph)


def parsed(graph: str) -> Model:
    return Model(ir.from_proto(onnx.parser.parse_model(HEADER + graph.replace(";", "\n"))))


@functools.cache
def runs_the_newest() -> bool:
    """Whether ONNX Runtime reads models like these; for Python 3.10 there is none that does."""
    try:
        Session(parsed("g (float[1] x) => (float[1] y) { y = Relu(x) }"))
    except ExternalStepError:
        return False
    return True


def identical(found: Array, expected: Array) -> bool:
    """The same dtype, shape and bytes."""
    return (
        found.dtype == expected.dtype
        and found.shape == expected.shape
        and found.tobytes() == expected.tobytes()
    )


def arrays_of(dtype: np.dtype[Any]) -> dict[str, Array]:
    flat = np.array([1, 0, 1, 1, 0, 1]).astype(dtype)
    return {
        "vector": flat,
        "a/matrix:0": flat.reshape(2, 3),
        "turned": flat.reshape(2, 3).T,
        "every second": flat[::2],
        "file": np.asarray(flat[0]).reshape(()),
        "none": flat[:0].reshape(0, 4),
    }


# Files


@pytest.mark.parametrize("name", [*FOREIGN, *OWN])
@pytest.mark.parametrize("form", [npz, array_ipc])
def test_every_dtype_comes_back_from_a_file(name: str, form: Any, tmp_path: Path) -> None:
    arrays = arrays_of(dtype_of(name))
    form.save(tmp_path / "t.npz", arrays)
    found = form.load(tmp_path / "t.npz")
    assert list(found) == list(arrays)
    assert all(identical(found[key], array) for key, array in arrays.items())


@pytest.mark.parametrize("name", OWN)
def test_numpy_reads_its_own_dtypes(name: str, tmp_path: Path) -> None:
    arrays = arrays_of(dtype_of(name))
    npz.save(tmp_path / "t.npz", arrays)
    with np.load(tmp_path / "t.npz", allow_pickle=False) as archive:
        assert archive.files == list(arrays)
        assert all(identical(archive[key], array) for key, array in arrays.items())


@pytest.mark.parametrize("name", FOREIGN)
def test_numpy_reads_the_bytes_of_the_others(name: str, tmp_path: Path) -> None:
    array = arrays_of(dtype_of(name))["a/matrix:0"]
    npz.save(tmp_path / "t.npz", {"x": array, "y": np.ones(3, np.float32)})
    with np.load(tmp_path / "t.npz", allow_pickle=False) as archive:
        assert archive["x"].view(array.dtype).tobytes() == array.tobytes()
        assert identical(archive["y"], np.ones(3, np.float32))


@pytest.mark.parametrize("comment", [b"", b"finfo", b"float64", b"object", b"int4", b"\xff", b"os"])
def test_a_comment_that_fits_no_dtype_changes_nothing(comment: bytes, tmp_path: Path) -> None:
    npz.save(tmp_path / "t.npz", {"x": np.ones(3, ml_dtypes.bfloat16)})
    with zipfile.ZipFile(tmp_path / "t.npz") as archive:
        content = archive.read("x.npy")
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as archive:
        info = zipfile.ZipInfo("x.npy")
        info.comment = comment
        archive.writestr(info, content)
    (found,) = npz.load(tmp_path / "other.npz").values()
    assert found.dtype == np.dtype("V2")


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", b"\x93NUMPY\x01\x00"])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "t.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"not a \.npz file"):
        npz.load(tmp_path / "t.npz")


@pytest.mark.parametrize("name", ["bfloat16", "float8e4m3fn", "int4"])
def test_bytes_that_numpy_wrote_are_what_the_model_takes(name: str, tmp_path: Path) -> None:
    model = text(f"g ({name}[6] x) => (float[6] y) {{ y = Cast<to=1>(x) }}")
    array = arrays_of(dtype_of(IN_ORT[name]))["vector"]
    np.savez(tmp_path / "t.npz", x=array)
    (point,) = api.read_inputs(tmp_path / "t.npz", model)
    assert identical(point["x"], array)


def test_another_dtype_of_the_same_size_is_not_taken_for_that_of_the_model(tmp_path: Path) -> None:
    model = text("g (float16[2] x) => (float[2] y) { y = Cast<to=1>(x) }")
    npz.save(tmp_path / "t.npz", {"x": np.ones(2, ml_dtypes.bfloat16)})
    with pytest.raises(UsageError, match="given as bfloat16, the model takes float16"):
        tripoint.verify(model, fixed=model, inputs=tmp_path / "t.npz")


# Legs


@pytest.mark.parametrize("name", IN_ORT)
@pytest.mark.parametrize("shape", [(3, 3), (0, 2), ()])
def test_onnx_runtime_takes_and_gives_them(name: str, shape: tuple[int, ...]) -> None:
    sizes = ",".join(map(str, shape))
    kind, plain = (f"{each}[{sizes}]" if shape else each for each in (name, "float"))
    code = getattr(onnx.TensorProto, name.upper())
    model = text(
        f"g ({kind} x, {plain} w) => ({plain} f, {kind} y, {plain} v) "
        f"{{ f = Cast<to=1>(x); y = Cast<to={code}>(f); v = Neg(w) }}"
    )
    values = np.resize([1.0, 0.0, 1.0, 1.0], shape)
    x, w = values.astype(dtype_of(IN_ORT[name])), values.astype(np.float32)
    f, y, v = Session(model).run({"x": x, "w": w})
    assert identical(f, w)
    assert identical(y, x)
    assert identical(v, np.asarray(-w))


@pytest.mark.needs_torch
@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_pytorch_takes_and_gives_them(name: str) -> None:
    for array in arrays_of(dtype_of(name)).values():
        assert str(to_tensor(array).dtype) == f"torch.{name}"
        assert identical(to_array(to_tensor(array)), array)


@pytest.mark.needs_torch
def test_pytorch_refuses_what_it_does_not_have() -> None:
    with pytest.raises(InputError, match="PyTorch has no tensors of int4"):
        to_tensor(np.ones(3, ml_dtypes.int4))


# Commands


def pair(name: str, folder: Path) -> tuple[Path, Path]:
    """A model between tensors of a type, and one that computes something else."""
    paths = folder / "good.onnx", folder / "bad.onnx"
    code = getattr(onnx.TensorProto, name.upper())
    for path, index in zip(paths, (1, 2), strict=True):
        body = f"a = Identity(x); f = Cast<to=1>(a); g = Gather(f, i); y = Cast<to={code}>(g)"
        weights = f"int64[3] i = {{0, {index}, 3}}"
        save(text(f"g ({name}[N] x) => ({name}[M] y) <{weights}> {{ {body} }}"), path)
    return paths


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments), "-q"])
    assert result.exit_code == 1, result.output
    return result.stdout


@pytest.mark.parametrize("name", [name for name in IN_ORT if "int" not in name])
def test_a_failing_case_of_verify_repeats(name: str, tmp_path: Path) -> None:
    good, bad = pair(name, tmp_path)
    given = np.array([0.5, 1, 30, 3]).astype(dtype_of(IN_ORT[name]))
    npz.save(tmp_path / "in.npz", {"x": given})
    case = tmp_path / "case"
    arguments = ["--fixed", bad, "--inputs", tmp_path / "in.npz"]
    shown = run("verify", good, *arguments, "--save-failing", case)
    assert identical(npz.load(case / "inputs.npz")["x"], given)
    assert identical(npz.load(case / "ONNX-Runtime.npz")["y"], given[[0, 1, 3]])
    assert identical(npz.load(case / "ONNX-Runtime-fixed.npz")["y"], given[[0, 2, 3]])
    command = next(line for line in shown.splitlines() if "repeat it: " in line)
    again = run(*shlex.split(command.partition("repeat it: tripoint ")[2]))
    assert "ONNX Runtime / ONNX Runtime (fixed): output y is different" in again


@pytest.mark.parametrize("name", IN_ORT)
@pytest.mark.parametrize("culprit", ["low", "f"], ids=["that makes it", "that takes it"])
def test_a_repro_of_locate_repeats(
    name: str, culprit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = getattr(onnx.TensorProto, name.upper())
    # What a float8 may deviate by is as large as the number itself.
    change = "Neg({})" if name.startswith("int") else "Mul({}, k)"
    good = f"low = Cast<to={code}>(x); f = Cast<to=1>(low); y = Identity(f)"
    bad = {
        "low": f"w = {change.format('x')}; {good.replace('(x)', '(w)')}",
        "f": good.replace("f = Cast<to=1>(low)", f"w = Cast<to=1>(low); f = {change.format('w')}"),
    }[culprit]
    for path, body in (("good.onnx", good), ("bad.onnx", bad)):
        weight = f"float k = {{{3.0 if name.startswith('u') else 30.0}}}"
        graph = f"g (float[N] x) => (float[N] y) <{weight}> {{ {body} }}"
        save(text(graph), tmp_path / path)
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "in.npz", x=np.array([1, 0, 1], np.float32))
    shown = run("locate", "good.onnx", "--against", "bad.onnx", "--inputs", "in.npz", "-o", "r")
    assert f"culprit: {culprit} (Cast)" in shown
    file = "expected.npz" if culprit == "low" else "inputs.npz"
    saved = npz.load(tmp_path / "r" / file)
    assert identical(saved["low"], np.array([1, 0, 1]).astype(dtype_of(IN_ORT[name])))
    monkeypatch.chdir(tmp_path / "r")
    command = next(
        line
        for line in Path("README.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("tripoint ")
    )
    assert f"culprit: {culprit} (Cast)" in run(*shlex.split(command)[1:])
    recorded = ["--expected", "expected.npz", "--inputs", "inputs.npz"]
    assert f"output {culprit} is different" in run("locate", "model.onnx", *recorded)
