"""``shapes --diff``, ``--as-log``, a log as target, and ``why`` on a log, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.helpers.graphs import GRAPH_A, GRAPH_B
from tests.helpers.marks import installed
from tripoint.cli import app
from tripoint.views.importers import SUPPORTED

SEED = str(GRAPH_A)
OTHER = str(GRAPH_B)


def run(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def log(tmp_path: Path) -> str:
    path = tmp_path / "build.log"
    run("shapes", SEED, "--target", "7.1", "--as-log", "--output-file", str(path))
    return str(path)


def test_diff_shows_what_two_targets_see_differently() -> None:
    output = run("shapes", SEED, "--diff", "7.1, 8.0")
    assert "13      Expand  (1, 5, 5, 5)  (-1, -1, -1, -1)  (1, 5, 5, 5)" in output
    assert "lost dims: 6 in A, 0 in B" in output
    assert "GlobalAveragePool" not in output


def test_diff_has_a_json_form() -> None:
    document = json.loads(run("shapes", SEED, "--diff", "7.1,8.0", "--format", "json"))
    assert [target["name"] for target in document["targets"]] == ["7.1", "8.0"]
    assert [entry["name"] for entry in document["differences"]] == ["13", "14", "15"]


def test_diff_of_a_target_with_itself_is_empty() -> None:
    assert "both see all 13 tensors alike" in run("shapes", SEED, "--diff", "7.1,7.1")


def test_diff_takes_a_log(log: str) -> None:
    assert "alike" in run("shapes", SEED, "--diff", f"7.1,{log}")


@pytest.mark.parametrize("pair", ["7.1", "7.1,", ",7.1", "7.1,8.0,8.2", ""])
def test_diff_needs_two_targets(pair: str) -> None:
    output = run("shapes", SEED, "--diff", pair, code=2)
    assert "two targets" in output
    assert "7.1,installed" in output


def test_options_that_exclude_each_other_are_named() -> None:
    assert "--diff does not go with --target" in run(
        "shapes", SEED, "--diff", "7.1,8.0", "--target", "7.1", code=2
    )
    assert "--as-log does not go with" in run(
        "shapes", SEED, "--target", "7.1", "--as-log", "--format", "json", code=2
    )


@pytest.mark.parametrize("target", [*SUPPORTED, installed])
def test_written_log_reads_back_as_the_same_table(target: str, tmp_path: Path) -> None:
    path = str(tmp_path / "build.log")
    run("shapes", SEED, "--target", target, "--as-log", "--output-file", path)
    table = json.loads(run("shapes", SEED, "--target", target, "--format", "json"))
    read = json.loads(run("log", path, "--format", "json"))["recordings"][0]
    assert [(row["name"], row["op"], row["tensorrt"]) for row in read["tensors"]] == [
        (row["name"], row["op"], row["tensorrt"]) for row in table["tensors"]
    ]
    assert read["summary"]["origins"] == table["summary"]["origins"]


def test_log_is_a_target_of_shapes_and_why(log: str) -> None:
    table = json.loads(run("shapes", SEED, "--target", log, "--format", "json"))
    assert table["target"]["kind"] == "log"
    assert table["summary"]["origins"] == ["13"]
    assert table["notes"] == []
    assert "the loss starts at 13" in run("why", SEED, "15", "--target", log)


def test_why_needs_no_model_beside_a_log(log: str) -> None:
    output = run("why", log, "15")
    assert "true shape  (1, 5, 5, 5)" in output
    assert "the loss starts at 13" in output
    assert "no tensor named" in run("why", log, "nothing", code=2)
    assert "a log is a target itself" in run("why", log, "15", "--target", "7.1", code=2)


def test_log_of_another_model_is_noticed(log: str, tmp_path: Path) -> None:
    assert "the log has tensors that the model lacks: `" in run("shapes", OTHER, "--target", log)
    path = tmp_path / "other.onnxtxt"
    path.write_text(
        '<ir_version: 8, opset_import: ["" : 11]> g (float[1] q) => (float[1] r) { r = Relu(q) }'
    )
    assert "none of the" in run("shapes", str(path), "--target", log, code=2)


def test_a_file_that_is_no_log_says_how_to_record_one(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("milk, eggs\n")
    for arguments in (("log", str(path)), ("shapes", SEED, "--target", str(path))):
        assert "trtexec --verbose" in run(*arguments, code=2)
    assert "no such file" in run("shapes", SEED, "--target", "missing.log", code=2)
