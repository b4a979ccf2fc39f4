"""``tripoint triton check``: ensembles, each mistake in one that is right otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.triton_repository import MODEL, save_model
from tripoint import triton

PYTHON = """backend: "python"
max_batch_size: 8
input [ { name: "raw" data_type: TYPE_UINT8 dims: [ -1 ] },
        { name: "size" data_type: TYPE_INT32 dims: [ 1 ] optional: true } ]
output [ { name: "image" data_type: TYPE_FP32 dims: [ 3, 8, 8 ] } ]
"""
NET = """platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ 3, 8, 8 ] } ]
output [ { name: "y" data_type: TYPE_FP32 dims: [ 3 ] } ]
"""
ALL = """platform: "ensemble"
max_batch_size: 8
input [ { name: "RAW" data_type: TYPE_UINT8 dims: [ -1 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 3 ] } ]
ensemble_scheduling { step [
  { model_name: "pre" model_version: -1
    input_map { key: "raw" value: "RAW" }
    output_map { key: "image" value: "mid" } },
  { model_name: "net" model_version: 1
    input_map { key: "x" value: "mid" }
    output_map { key: "y" value: "OUT" } } ] }
"""


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    for name, config in (("pre", PYTHON), ("net", NET), ("all", ALL)):
        (tmp_path / name / "1").mkdir(parents=True)
        (tmp_path / name / "config.pbtxt").write_text(config)
    save_model(tmp_path / "net/1/model.onnx", MODEL)
    return tmp_path


def test_an_ensemble_without_a_mistake(repo: Path) -> None:
    checked = triton.check(repo)
    assert checked.findings == []
    assert [model.compared for model in checked.models if model.name == "all"] == [("pre", "net")]


MISTAKES = {
    "output key": ("all", 'key: "y"', 'key: "out"', 11, "net in step 1 has no output 'out'"),
    "input key": ("all", 'key: "raw"', 'key: "ra"', 7, "pre in step 0 has no input 'ra'"),
    "model": ("all", '"net"', '"nett"', 9, "step 1 needs the model 'nett', which is not in the"),
    "version": ("all", "model_version: 1", "model_version: 3", 9, "version 3 of net, which has 1"),
    "batch": ("all", "size: 8", "size: 16", 2, "max_batch_size 16 is more than the 8 of pre"),
    "shape between steps": (
        "pre", "dims: [ 3, 8, 8 ]", "dims: [ 3, 9, 9 ]", 10,
        "'mid' is [3, 9, 9] with a batch as output 'image' of pre, and [3, 8, 8] with a batch as",
    ),
    "rank between steps": (
        "pre", "dims: [ 3, 8, 8 ]", "dims: [ 192 ]", 10, "'mid' is [192] with a batch as output",
    ),
    "type between steps": (
        "pre", '"image" data_type: TYPE_FP32', '"image" data_type: TYPE_FP16', 10,
        "'mid' is TYPE_FP16 as output 'image' of pre, and TYPE_FP32 as input 'x' of net",
    ),
    "type of the ensemble": (
        "all", "TYPE_UINT8", "TYPE_STRING", 7, "'RAW' is TYPE_STRING as the ensemble's input",
    ),
    "shape of the ensemble": (
        "all", "dims: [ 3 ]", "dims: [ 4 ]", 11, "'OUT' is [4] with a batch as the ensemble's",
    ),
    "never produced": ("all", 'value: "mid" }\n    output', 'value: "middle" }\n    output', 10,
                       "step 1 reads 'middle', which no step and no input gives"),
    "not read": ("all", 'key: "x" value: "mid"', 'key: "x" value: "RAW"', 8,
                 "nothing reads 'mid', which step 0 makes"),
    "output that nobody makes": (
        "all", '"y" value: "OUT"', '"y" value: "other"', 4,
        "no step produces the ensemble's output",
    ),
    "two producers": ("all", '"y" value: "OUT"', '"y" value: "mid"', 11,
                      "'mid' is produced by step 0 and by step 1"),
    "circle of steps": ("all", '"raw" value: "RAW"', '"raw" value: "OUT"', 7, "can never run"),
    "input that nobody reads": (
        "all", '"raw" value: "RAW"', '"raw" value: "OUT"', 3,
        "no step consumes the ensemble's input",
    ),
    "circle of ensembles": ("all", '"net"', '"all"', 5, "the ensemble contains itself: all -> all"),
    "input left out": ("all", 'input_map { key: "x" value: "mid" }', "", 9, "net no input 'x'"),
    "instances": ("all", "ensemble_sch", "instance_group [ { count: 2 } ]\nensemble_sch", 5,
                  "an ensemble takes no instance_group"),
    "no step": ("all", ALL[ALL.index("ensemble_s") :], "ensemble_scheduling { }", 5, "needs steps"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_an_ensemble(name: str, repo: Path) -> None:
    model, old, new, line, message = MISTAKES[name]
    path = repo / model / "config.pbtxt"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    found = [each for each in triton.check(repo).findings if each.model == "all"]
    assert [each for each in found if message in each.message and each.line == line], found
    assert {each.severity for each in found} == {"error"}


RIGHT = {
    "a size that varies": ("pre", "dims: [ 3, 8, 8 ]", "dims: [ 3, -1, -1 ]"),
    "a model that takes larger batches": ("pre", "size: 8", "size: 32"),
    "smaller batches": ("all", "size: 8", "size: 2"),
    "a model without batches and shapes with them": (
        "pre",
        PYTHON,
        PYTHON.replace("size: 8", "size: 0")
        .replace("[ 3, 8", "[ -1, 3, 8")
        .replace("[ -1 ]", "[ -1, -1 ]"),
    ),
    "the latest version": ("all", "model_version: 1", "model_version: -1"),
}


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_ensemble(name: str, repo: Path) -> None:
    model, old, new = RIGHT[name]
    path = repo / model / "config.pbtxt"
    path.write_text(path.read_text().replace(old, new, 1))
    assert triton.check(repo).findings == []
