"""Where the inputs of a comparison come from, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import tripoint
from tests.helpers.graphs import onnx_text
from tripoint import api
from tripoint.cli.options import value_ranges
from tripoint.errors import InputError, UsageError
from tripoint.model import Model
from tripoint.numeric import npz
from tripoint.numeric.inputs import generate, inputs_of
from tripoint.parity.verify import verify
from tripoint.profiles import points as sizes_to_try
from tripoint.spec import Range

Array = np.ndarray[Any, Any]
X = np.arange(6, dtype=np.float32).reshape(2, 3)
IDS = np.array([1, 0], np.int64)


@pytest.fixture
def model() -> Model:
    return onnx_text(
        "g (float[N,3] x, int64[N] ids) => (float[N,3] y, int64[N] z)"
        "{ y = Relu(x)  z = Identity(ids) }"
    )


def same(found: Mapping[str, Array], expected: Mapping[str, Array]) -> bool:
    return found.keys() == expected.keys() and all(
        array.dtype == found[name].dtype and np.array_equal(array, found[name])
        for name, array in expected.items()
    )


def encoded(array: Array) -> dict[str, str]:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return {"array": base64.b64encode(buffer.getvalue()).decode(), "polygraphy_class": "ndarray"}


# Files


def test_one_point_of_a_file(model: Model, tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", x=X, ids=IDS)
    (point,) = api.read_inputs(tmp_path / "one.npz", model)
    assert same(point, {"x": X, "ids": IDS})
    result = tripoint.verify(model, inputs=tmp_path / "one.npz", fixed=model)
    assert [(entry.sizes, entry.seed) for entry in result.points] == [({"N": 2}, None)]


def test_several_points_of_a_file(model: Model, tmp_path: Path) -> None:
    arrays = {"0/x": X, "0/ids": IDS, "10/x": X[:1], "10/ids": IDS[:1], "2/x": -X, "2/ids": IDS}
    npz.save(tmp_path / "three.npz", arrays)
    found = api.read_inputs(tmp_path / "three.npz", model)
    assert [len(point["x"]) for point in found] == [2, 2, 1]
    assert same(found[1], {"x": -X, "ids": IDS})


def test_names_that_are_paths_or_keywords(tmp_path: Path) -> None:
    arrays = {"file": X, "0/a/b": IDS, "../up": X, "a:b": IDS}
    npz.save(tmp_path / "odd.npz", arrays)
    assert same(npz.load(tmp_path / "odd.npz"), arrays)


def test_bfloat16_survives_a_file(tmp_path: Path) -> None:
    model = onnx_text("g (bfloat16[2] x) => (bfloat16[2] y) { y = Identity(x) }")
    array = np.array([1.5, -2.0], ml_dtypes.bfloat16)
    npz.save(tmp_path / "half.npz", {"x": array})
    (point,) = api.read_inputs(tmp_path / "half.npz", model)
    assert same(point, {"x": array})


@pytest.mark.parametrize("wrap", [False, True], ids=["list", "single dict"])
def test_what_polygraphy_saves(model: Model, tmp_path: Path, wrap: bool) -> None:
    point = {"x": encoded(X), "ids": {"values": encoded(IDS), "polygraphy_class": "LazyArray"}}
    path = tmp_path / "inputs.json"
    path.write_text(json.dumps(point if wrap else [point, point]))
    found = api.read_inputs(path, model)
    assert len(found) == (1 if wrap else 2)
    assert same(found[0], {"x": X, "ids": IDS})


def test_a_folder_of_points(model: Model, tmp_path: Path) -> None:
    for index in range(3):
        text = json.dumps([{"x": encoded(X + index), "ids": encoded(IDS)}])
        (tmp_path / f"{index:010}.json").write_text(text)
    (tmp_path / "notes.txt").write_text("not one of them")
    found = api.read_inputs(tmp_path, model)
    assert [float(point["x"][0, 0]) for point in found] == [0.0, 1.0, 2.0]


HEADER = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({10**14},), }}".ljust(117) + "\n"
HUGE = b"\x93NUMPY\x01\x00v\x00" + HEADER.encode()
"""An array of 400 TB, of which the file holds none."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("{", "not a JSON file"),
        ("[" * 100_000, "not a JSON file"),
        ("[]", "no point in it"),
        ("[3]", "point 0 is a int, not a dict"),
        ('{"polygraphy_class": "RunResults", "lst": []}', "results of runs are no inputs"),
        ('[{"x": [1, 2]}]', "input 'x' is a list, not a NumPy array"),
        ('[{"x": {"tensor": "gA==", "polygraphy_class": "Tensor"}}]', r"convert .* \.numpy\(\)"),
        ('[{"x": {"array": "%%%", "polygraphy_class": "ndarray"}}]', "no plain array"),
        ('[{"x": {"array": 3, "polygraphy_class": "ndarray"}}]', "not a NumPy array"),
        (json.dumps([{"x": encoded(X) | {"array": base64.b64encode(HUGE).decode()}}]), "no plain"),
    ],
)
def test_json_that_is_refused(
    model: Model, tmp_path: Path, content: str | None, message: str
) -> None:
    path = tmp_path / "inputs.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError) as refusal:
        api.read_inputs(path, model)
    assert re.search(message, str(refusal.value))
    assert "inputs.json" in str(refusal.value)


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (print, ("executed",))


def test_pickles_are_never_executed(
    model: Model, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    objects = np.array([Evil()], object)
    np.savez(tmp_path / "evil.npz", allow_pickle=True, x=objects)
    buffer = io.BytesIO()
    np.save(buffer, objects, allow_pickle=True)
    text = base64.b64encode(buffer.getvalue()).decode()
    evil = {"x": {"array": text, "polygraphy_class": "ndarray"}}
    (tmp_path / "evil.json").write_text(json.dumps([evil]))
    for name in ("evil.npz", "evil.json"):
        with pytest.raises(InputError, match="plain array"):
            api.read_inputs(tmp_path / name, model)
    assert "executed" not in capsys.readouterr().out


# Functions

LOADER = """
import numpy as np
import loader_value

def points():
    for batch in (1, 2):
        import loader_ids
        x = np.full((batch, 3), loader_value.VALUE, np.float32)
        yield {"x": x, "ids": loader_ids.ids(batch)}

def one():
    return {"x": np.zeros((1, 3), np.float32), "ids": np.zeros(1, np.int64)}

def tensors():
    import torch
    return [{"x": torch.ones(1, 3), "ids": torch.ones(1, dtype=torch.int64)}]

def forever():
    while True:
        yield one()

def broken():
    yield one()
    raise RuntimeError("no data left")

def text():
    return [{"x": "one", "ids": 1}]

def numbers():
    return [1, 2]

def nothing():
    return 3

VALUE = 3
"""


@pytest.fixture
def loader(tmp_path: Path) -> Path:
    (tmp_path / "loader_value.py").write_text("VALUE = 7\n")
    (tmp_path / "loader_ids.py").write_text(
        "import numpy as np\ndef ids(n):\n    return np.arange(n)\n"
    )
    (tmp_path / "load.py").write_text(LOADER)
    return tmp_path / "load.py"


@pytest.mark.needs_torch
def test_a_function_gives_points(model: Model, loader: Path) -> None:
    found = api.read_inputs(f"{loader}:points", model)
    assert [len(point["x"]) for point in found] == [1, 2]
    assert float(found[1]["x"][0, 0]) == 7.0
    assert len(api.read_inputs(f"{loader}:one", model)) == 1
    (point,) = api.read_inputs(f"{loader}:tensors", model)
    assert same(point, {"x": np.ones((1, 3), np.float32), "ids": np.ones(1, np.int64)})


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("forever", InputError, "yields more than 1000 points"),
        (
            "broken",
            InputError,
            r"calling broken\(\) failed: RuntimeError: no data left \(.*load.py:\d+",
        ),
        ("text", InputError, "input 'x' is a str"),
        ("numbers", InputError, "yields a int"),
        ("nothing", InputError, "gives a int"),
        ("VALUE", InputError, "VALUE is a int, not a function"),
        ("absent", InputError, "there is no 'absent'"),
    ],
)
def test_functions_that_are_refused(
    model: Model, loader: Path, name: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        api.read_inputs(f"{loader}:{name}", model)


@pytest.mark.parametrize("text", ["inputs.txt", "model.onnx", "x"])
def test_kinds_that_are_unknown(model: Model, text: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    name = str(tmp_path / text) if text == "model.onnx" else text
    with pytest.raises(UsageError, match="cannot tell what inputs"):
        api.read_inputs(name, model)


# Generated


def test_pixels_and_value_ranges() -> None:
    model = onnx_text(
        "g (uint8[N,4,4,3] frame, uint8[N] flags, float[N,2] x, int64[N,5] ids, int8[N] s)"
        "=> (uint8[N] y) { y = Identity(flags) }"
    )
    specs = inputs_of(model)
    values = {"x": (0.0, 1.0), "ids": (3.0, 9.5), "s": (-2.0, 2.0)}
    arrays = generate(specs, {"N": 40}, 0, model=model, values=values)
    assert arrays["frame"].dtype == np.uint8
    assert arrays["frame"].max() > 200
    assert {0, 1} < set(arrays["flags"])
    assert arrays["flags"].max() > 200
    assert 0 <= arrays["x"].min() < 0.2 < 0.8 < arrays["x"].max() <= 1
    assert set(np.unique(arrays["ids"])) == set(range(3, 10))
    assert set(np.unique(arrays["s"])) == {-2, -1, 0, 1, 2}
    for bad in (
        {"s": (0.0, 300.0)},
        {"flags": (-1.0, 1.0)},
        {"ids": (0.2, 0.8)},
        {"q": (0.0, 1.0)},
    ):
        with pytest.raises(UsageError, match=r"no numbers from|no input named"):
            generate(specs, {"N": 1}, 0, model=model, values=bad)


def test_value_ranges_as_they_are_written() -> None:
    assert value_ranges(["a:b:0..255", "x:-1..1e-3"]) == {"a:b": (0, 255), "x": (-1, 0.001)}
    for text in ("x", "x:1", "x:2..1", ":0..1", "x:0..inf", "x:a..b", "x:nan..1"):
        with pytest.raises(UsageError, match="write --values"):
            value_ranges([text])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "g (string[N] s) => (string[N] y) { y = Identity(s) }",
            "input 's' is a tensor of strings",
        ),
        (
            "g (float[N] x) => (string[N] y) { y = Cast <to = 8> (x) }",
            "output 'y' is a tensor of strings",
        ),
        (
            "g (float[N] x) => (seq(float[N]) y) { y = SequenceConstruct(x) }",
            "output 'y' is a sequence",
        ),
    ],
)
def test_strings_and_sequences_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        verify(onnx_text(text), bindings=[{"N": 1}])


# Sizes


def test_the_sweep_takes_what_leaves_something_over() -> None:
    sizes = [point["N"] for point in sizes_to_try.sweep({"N": Range(1, 8, 32)})]
    assert sizes[:7] == [1, 8, 32, 3, 7, 17, 31]
    assert len(set(sizes)) == 8
    assert [point["N"] for point in sizes_to_try.sweep({"N": Range(1, 2, 4)})] == [1, 2, 4, 3]
    assert sizes_to_try.sweep({}) == [{}]
    assert len(sizes_to_try.sweep({"N": Range(1, 8, 32)}, 100)) == 32
    assert [point["N"] for point in sizes_to_try.sweep({"N": Range(1, 8, 32)}, 1)] == [1]


def test_the_sweep_varies_symbols_apart() -> None:
    points = sizes_to_try.sweep({"N": Range(1, 8, 32), "L": Range(16, 64, 512)}, seed=1)
    assert len(points) == 8
    assert {"N": 3, "L": 511} in points or any(p["N"] == 3 for p in points)
    assert all(16 <= point["L"] <= 512 and 1 <= point["N"] <= 32 for point in points)
    assert points != sizes_to_try.sweep({"N": Range(1, 8, 32), "L": Range(16, 64, 512)}, seed=2)


# Importing


def test_the_reader_imports_no_runtime() -> None:
    code = (
        "import sys; import tripoint.sources.inputs_file, tripoint.testing\n"
        "assert not {'torch', 'onnxruntime', 'tensorrt', 'scipy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
