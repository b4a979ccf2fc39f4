from __future__ import annotations

import errno
import os
import random
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tests.helpers.graphs import GRAPH_A, assert_same_function, build, feed, interface, to_bytes
from tripoint import model as models
from tripoint.errors import InputError, OutputError
from tripoint.model import Model, as_file, external_tensors, load, save, sha256
from tripoint.numeric.ort import Session

WEIGHT_BYTES = 48


def small() -> Model:
    return build("float[N,3] x, float[3,4] w_k", "y = MatMul(x, w_k)")


def with_data(
    folder: Path, location: str = "w.bin", offset: int = 0, length: int = WEIGHT_BYTES
) -> Path:
    """A model whose weight is said to lie at ``location``; the data file is not written."""
    folder.mkdir(parents=True, exist_ok=True)
    proto = onnx.load_from_string(to_bytes(small()))
    tensor = proto.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in {"location": location, "offset": offset, "length": length}.items():
        tensor.external_data.add(key=key, value=str(value))
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def write_weight(path: Path, size: int = WEIGHT_BYTES) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    weight = numpy_helper.to_array(onnx.load_from_string(to_bytes(small())).graph.initializer[0])
    path.write_bytes(weight.tobytes()[:size])
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def computes(path: Path) -> list[np.ndarray]:
    loaded = load(path)
    return Session(loaded).run(feed(loaded, N=2))


# Reading


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("m.onnx", None, "no such file"),
        ("m.onnx/below", b"x", "no such file"),
        ("m.onnx", b"", "the file is empty"),
        ("m.onnx", b"hello world", "not an ONNX file, or a truncated one"),
        ("m.onnx", b"\x08\x08", "its graph has no outputs"),
        ("m.onnxtxt", b"hello world", "not ONNX text"),
        ("m.onnxtxt", b"\xff\xfe\x00", "not an ONNX file"),
        (
            "m.onnxtxt",
            b"<ir_version: 8, opset_import: []> g (float[2] x) => (float[2] y) { y = Relu(x) }",
            "imports no operator set",
        ),
    ],
)
def test_not_a_model(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    path = tmp_path / name
    if content is not None:
        (tmp_path / name.partition("/")[0]).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_parse_error_is_readable(tmp_path: Path) -> None:
    path = tmp_path / "m.onnxtxt"
    path.write_text("hello world", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load(path)
    assert "line: 1" in str(caught.value)
    assert "\\n" not in str(caught.value)
    assert "b'" not in str(caught.value)


def test_folder_is_not_a_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="this is a folder, not a model"):
        load(tmp_path)


def test_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(InputError, match="permission denied"):
        load(tmp_path / "m.onnx")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    content = to_bytes(small())
    path = tmp_path / "m.onnx"
    for size in range(1, len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(InputError):
            load(path)


def test_random_bytes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    for seed in range(200):
        random_bytes = random.Random(seed)
        path.write_bytes(random_bytes.randbytes(random_bytes.randint(1, 300)))
        with pytest.raises(InputError):
            load(path)


def test_text_and_binary_are_the_same_model(tmp_path: Path) -> None:
    text = load(GRAPH_A)
    binary = load(save(text, tmp_path / "a.onnx").path or "")
    assert text.opset == binary.opset == 9
    assert text.nodes == binary.nodes == 12
    assert_same_function(text, binary)
    again = load(save(binary, tmp_path / "a.onnxtxt").path or "")
    assert_same_function(text, again)
    assert text.sha256 == sha256(GRAPH_A) != binary.sha256
    assert small().sha256 is None


# External data


@pytest.mark.parametrize(
    ("offset", "length", "size", "message"),
    [
        (0, WEIGHT_BYTES, None, "'w.bin' is missing"),
        (0, WEIGHT_BYTES, WEIGHT_BYTES - 1, "has 47 bytes, tensor 'w_k' ends at 48"),
        (4, WEIGHT_BYTES, WEIGHT_BYTES, "has 48 bytes, tensor 'w_k' ends at 52"),
        (4, 0, WEIGHT_BYTES, "has 48 bytes, tensor 'w_k' ends at 52"),
        (-4, WEIGHT_BYTES, WEIGHT_BYTES, "not a usable ONNX model"),
    ],
)
def test_data_that_is_not_there(
    tmp_path: Path, offset: int, length: int, size: int | None, message: str
) -> None:
    path = with_data(tmp_path, offset=offset, length=length)
    if size is not None:
        write_weight(tmp_path / "w.bin", size)
    with pytest.raises(InputError, match=message) as caught:
        load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("location", ["../w.bin", "sub/../../w.bin", "{}/w.bin", "link.bin"])
def test_data_outside_the_folder(tmp_path: Path, location: str) -> None:
    write_weight(tmp_path / "w.bin")
    path = with_data(tmp_path / "in", location.format(tmp_path))
    (tmp_path / "in" / "link.bin").symlink_to(tmp_path / "w.bin")
    (tmp_path / "in" / "sub").mkdir()
    with pytest.raises(InputError, match=r"outside the model's folder[\s\S]*refused"):
        load(path)


@pytest.mark.parametrize("location", ["w.bin", "./w.bin", "sub/w ü #1'.bin", "w:1=%20.bin"])
def test_data_is_placed_beside_a_copy(tmp_path: Path, location: str) -> None:
    path = with_data(tmp_path / "in", location)
    write_weight(tmp_path / "in" / location)
    before = tree(tmp_path / "in")
    expected = computes(path)
    (tmp_path / "out").mkdir()
    saved = save(load(path), tmp_path / "out" / "copy ü.onnx")
    assert saved.path is not None
    assert saved.path.stat().st_size <= path.stat().st_size
    (tensor,) = external_tensors(load(saved.path).ir)
    assert Path(tensor.base_dir).resolve() == tmp_path / "out"
    assert tree(tmp_path / "in") == before
    np.testing.assert_array_equal(computes(path), expected)
    shutil.rmtree(tmp_path / "in")
    np.testing.assert_array_equal(computes(saved.path), expected)


def test_data_stays_readable_for_other_programs(tmp_path: Path) -> None:
    path = with_data(tmp_path / "in")
    write_weight(tmp_path / "in" / "w.bin")
    (tmp_path / "out").mkdir()
    save(load(path), tmp_path / "out" / "copy.onnx")
    for each in (path, tmp_path / "out" / "copy.onnx"):
        onnx.load(each)
        (tensor,) = external_tensors(load(each).ir)
        assert tensor.numpy().shape == (3, 4)


def test_data_behind_a_link_inside_the_folder(tmp_path: Path) -> None:
    path = with_data(tmp_path / "in")
    write_weight(tmp_path / "in" / "real.bin")
    (tmp_path / "in" / "w.bin").symlink_to("real.bin")
    expected = Session(load(path)).run(feed(load(path), N=2))
    (tmp_path / "out").mkdir()
    save(load(path), tmp_path / "out" / "copy.onnx")
    np.testing.assert_array_equal(computes(tmp_path / "out" / "copy.onnx"), expected)


def test_data_of_a_model_in_text_lies_beside_it(tmp_path: Path) -> None:
    path = with_data(tmp_path)
    write_weight(tmp_path / "w.bin")
    save(load(path), tmp_path / "copy.onnxtxt")
    np.testing.assert_array_equal(computes(tmp_path / "copy.onnxtxt"), computes(path))


def test_other_data_is_not_replaced(tmp_path: Path) -> None:
    path = with_data(tmp_path / "in")
    write_weight(tmp_path / "in" / "w.bin")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "w.bin").write_bytes(b"precious")
    with pytest.raises(OutputError, match=r"w\.bin exists"):
        save(load(path), tmp_path / "out" / "copy.onnx")
    assert tree(tmp_path / "out") == {"w.bin": b"precious"}
    save(load(path), tmp_path / "out" / "copy.onnx", force=True)
    np.testing.assert_array_equal(computes(tmp_path / "out" / "copy.onnx"), computes(path))


def test_copy_beside_the_original_shares_its_data(tmp_path: Path) -> None:
    path = with_data(tmp_path)
    write_weight(tmp_path / "w.bin")
    save(load(path), tmp_path / "copy.onnx")
    assert set(tree(tmp_path)) == {"model.onnx", "copy.onnx", "w.bin"}
    np.testing.assert_array_equal(computes(tmp_path / "copy.onnx"), computes(path))


# Writing


@pytest.mark.parametrize("suffix", [".onnx", ".onnxtxt"])
@pytest.mark.parametrize("weights", ["inline", "external", "large"])
def test_failed_save_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, weights: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    model = small()
    if weights == "external":
        write_weight(tmp_path / "in" / "w.bin")
        model = load(with_data(tmp_path / "in"))
    elif weights == "large":
        monkeypatch.setattr(models, "_INLINE_LIMIT", 0)
        model = build("float[2,300] x, float[300,40] w_k", "y = MatMul(x, w_k)")
    for content, force in ({}, False), ({f"m{suffix}": b"old"}, True):
        out = tmp_path / f"out{force}"
        out.mkdir()
        for name, data in content.items():
            (out / name).write_bytes(data)
        with monkeypatch.context() as patched:
            patched.setattr(Path, "replace", refuse)
            with pytest.raises(OutputError, match="the disk is full"):
                save(model, out / f"m{suffix}", force=force)
        assert tree(out) == content


def test_existing_file_is_kept_without_force(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match=r"exists[\s\S]*--force"):
        save(small(), path)
    assert tree(tmp_path) == {"m.onnx": b"old"}
    save(small(), path, force=True)
    assert path.read_bytes() == to_bytes(small())
    with pytest.raises(OutputError, match="is a folder"):
        save(small(), tmp_path, force=True)


def test_large_weights_go_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_INLINE_LIMIT", 0)
    model = build("float[2,300] x, float[300,40] w_k", "y = MatMul(x, w_k)")
    before = to_bytes(model)
    path = tmp_path / "m.onnx"
    save(model, path)
    assert to_bytes(model) == before
    assert set(tree(tmp_path)) == {"m.onnx", "m.onnx.data"}
    loaded = load(path)
    (tensor,) = external_tensors(loaded.ir)
    assert tensor.location == "m.onnx.data"
    inputs = feed(model)
    np.testing.assert_array_equal(Session(loaded).run(inputs), Session(model).run(inputs))
    path.unlink()
    with pytest.raises(OutputError, match=r"m\.onnx\.data exists"):
        save(model, path)
    assert set(tree(tmp_path)) == {"m.onnx.data"}


def notes(model: Model) -> Mapping[str, object]:
    graph = model.ir.graph
    return {
        "interface": interface(model),
        "graph": (graph.name, graph.doc_string, dict(graph.metadata_props)),
        "model": (model.ir.doc_string, model.ir.producer_name, dict(model.ir.metadata_props)),
        "nodes": [(n.name, n.doc_string, dict(n.metadata_props)) for n in graph],
    }


def test_round_trip_keeps_names_and_notes(tmp_path: Path) -> None:
    model = build(
        'float[batch,"2*N",3] "in/put:0"', 'y = Relu("in/put:0"); z = Neg(y)', outputs="y, z"
    )
    model.ir.doc_string, model.ir.producer_name = "a model", "someone"
    model.ir.metadata_props["key"] = "value ü"
    model.ir.graph.doc_string = "a graph"
    for index, node in enumerate(model.ir.graph):
        node.name, node.doc_string = f"/block.{index}/relu", f"node {index}"
        node.metadata_props["pkg.torch.onnx.stack_trace"] = f'File "a.py", line {index}\n'
    path = tmp_path / "m.onnx"
    save(model, path)
    content = path.read_bytes()
    loaded = load(path)
    assert notes(loaded) == notes(model)
    assert loaded.path == path
    save(loaded, tmp_path / "n.onnx")
    assert notes(load(tmp_path / "n.onnx")) == notes(model)
    assert path.read_bytes() == content


def test_as_file_is_binary_and_temporary(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    save(small(), path)
    with as_file(load(path)) as given:
        assert given == path
    assert path.exists()
    for model in (small(), load(GRAPH_A)):
        with as_file(model) as given:
            onnx.checker.check_model(str(given))
        assert not given.exists()
        assert not given.parent.exists()


def test_as_file_has_its_external_data_beside_it(tmp_path: Path) -> None:
    path = with_data(tmp_path / "in")
    write_weight(tmp_path / "in" / "w.bin")
    before = tree(tmp_path)
    with as_file(Model(load(path).ir)) as given:
        assert given.parent != path.parent
        assert tree(given.parent).keys() == {given.name, "w.bin"}
        assert (given.parent / "w.bin").read_bytes() == before["in/w.bin"]
        onnx.load(path)
    assert not given.parent.exists()
    assert tree(tmp_path) == before
