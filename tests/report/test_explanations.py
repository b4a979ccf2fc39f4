"""What reports say of refusals, frozen sizes, nodes without a name, and how they count."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys

import numpy as np
import onnx
import onnx.helper as oh
import onnx.parser
import pytest
from typer.testing import CliRunner

import tripoint
from tripoint.cli import app
from tripoint.words import number_of, once

PAD = """<ir_version: 7, opset_import: ["" : 13]> g (float[N,3,H,W] x) => (float[a,b,c,d] y)
<int64[1] zero={0}, int64[1] third={3}, int64[2] two_by_four={4, 2}, int64[1] flat={-1}> {
    s = Shape(x)
    h = Gather(s, third)
    m = Mod(h, third)
    p = Concat<axis=0>(zero, zero, zero, m, zero, zero, zero, m)
    q = Reshape(p, two_by_four)
    t = Transpose<perm=[1, 0]>(q)
    pads = Reshape(t, flat)
    padded = Pad(x, pads)
    y = Relu(padded)
}"""


def saved(folder, text, name="model.onnx"):
    path = folder / name
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def said(*words):
    result = CliRunner().invoke(app, [*map(str, words)])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize(
    ("count", "what", "text"),
    [
        (1, "node", "1 node"),
        (0, "node", "0 nodes"),
        (2, "lost dim", "2 lost dims"),
        (3, "axis", "3 axes"),
        (1, "axis", "1 axis"),
    ],
)
def test_counts_read_as_words(count, what, text):
    assert number_of(count, what) == text


def test_a_line_that_stands_often_is_said_once():
    assert once(["a", "b", "a", "a"]) == ["a (3 times)", "b"]


def test_why_tells_what_is_refused_at_the_node_and_before_it(tmp_path):
    path = saved(tmp_path, PAD)
    refused = {each.node for each in tripoint.shapes(path, target="8.2").refusals}
    assert refused == {"m", "padded"}
    text = said("why", path, "padded", "--target", "8.2")
    assert "    refused or misread: TensorRT 8.2 takes no shape tensor of rank 2" in text
    assert "    made from Mod m, refused or misread: TensorRT 8.2 has no importer for Mod" in text
    behind = said("why", path, "y", "--target", "8.2")
    assert "    made from Pad padded, refused or misread: TensorRT 8.2 takes no" in behind
    assert "refused or misread" not in said("why", path, "h", "--target", "8.2")
    found = json.loads(said("why", path, "padded", "--target", "8.2", "--format", "json"))
    assert [each["node"] for each in found["refusals"]] == ["padded", "m"]


def test_one_reason_is_told_once_for_all_nodes_that_have_it(tmp_path):
    mods = "".join(f"m{i} = Mod(h, third) a{i} = Add(h, m{i}) " for i in range(6))
    names = ", ".join(f"a{i}" for i in range(6))
    text = f"""<ir_version: 7, opset_import: ["" : 13]> g (float[N,H] x) => (int64[6] y)
        <int64[1] third={{1}}> {{
            s = Shape(x) h = Gather(s, third) {mods} y = Concat<axis=0>({names})
        }}"""
    path = saved(tmp_path, text)
    lines = [
        line for line in said("why", path, "y", "--target", "8.2").splitlines() if "Mod" in line
    ]
    assert len(lines) == 1
    assert "and 2 more" in lines[0]
    shapes = said("shapes", path, "--target", "8.2")
    assert "refuses or misreads 6 nodes:" in shapes


FROZEN = """<ir_version: 7, opset_import: ["" : 13]>
g (float[N,8] x) => (float[a,b] y, float[c,d] z)
<int64[2] size={4, 8}> { e = Expand(x, size) y = Add(x, e) z = Neg(y) }"""


def test_why_tells_frozen_sizes(tmp_path):
    path = saved(tmp_path, FROZEN)
    frozen = tripoint.shapes(path, target="10.1").frozen
    assert frozen, "the model freezes a size"
    for tensor in ("y", "z"):
        assert f"frozen: {frozen[0].op} {frozen[0].node}" in said(
            "why", path, tensor, "--target", "10.1"
        )
    assert "frozen:" not in said("why", path, "x", "--target", "10.1")


def test_a_node_is_named_by_its_first_output_that_has_a_name(tmp_path):
    hidden, size = 4, 3
    weights = {
        "w": np.zeros((1, 4 * hidden, size), np.float32),
        "r": np.zeros((1, 4 * hidden, hidden), np.float32),
    }
    graph = oh.make_graph(
        [oh.make_node("LSTM", ["x", "w", "r"], ["", "h"], hidden_size=hidden)],
        "g",
        [oh.make_tensor_value_info("x", 1, ["L", "N", size])],
        [oh.make_tensor_value_info("h", 1, [1, "N", hidden])],
        [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    path = tmp_path / "lstm.onnx"
    onnx.save(oh.make_model(graph, opset_imports=[oh.make_opsetid("", 14)], ir_version=8), path)
    assert tripoint.shapes(path, target="10.1").by_name["h"].node == "h"
    text = said("why", path, "h", "--target", "10.1")
    assert "made by     LSTM node h" in text


UNREAD = """<ir_version: 8, opset_import: ["" : 13]> g (float[2,3] x) => (float[2,3] y)
<float[1] left = {1}> { dead = Neg(x) y = Relu(x) }"""


def test_a_rewrite_without_nodes_names_the_tensor(tmp_path):
    path = saved(tmp_path, UNREAD)
    lines = said("fix", path, "--dry-run", "-q", "--target", "10.1").splitlines()
    assert "unread: left" in lines
    assert not [line for line in lines if line.rstrip().endswith(":") or line.startswith(":")]


def test_a_reason_why_a_rewrite_does_not_fit_is_told_once(tmp_path):
    inputs = ", ".join(f"float[N,M] x{i}" for i in range(6))
    squeezes = " ".join(f"s{i} = Squeeze(x{i}) n{i} = Neg(s{i})" for i in range(6))
    outputs = ", ".join(f"float[a{i}] n{i}" for i in range(6))
    text = f"""<ir_version: 8, opset_import: ["" : 13]>
        g ({inputs}) => ({outputs}) {{ {squeezes} }}"""
    path = saved(tmp_path, text)
    lines = said("fix", path, "--dry-run", "-q", "--target", "10.1").splitlines()
    told = [line for line in lines if line.startswith("not applied: squeeze-axes")]
    assert len(told) == 1
    assert told[0].count(",") == 3


def test_sentences_are_broken_at_the_width_of_a_terminal(tmp_path):
    path = saved(tmp_path, PAD)
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "tripoint", "why", str(path), "padded", "--target", "8.2"]
    env = {**os.environ, "COLUMNS": "80", "LINES": "40"}
    with subprocess.Popen(command, stdout=slave, stderr=slave, env=env) as process:
        os.close(slave)
        shown = b""
        try:
            while data := os.read(master, 65536):
                shown += data
        except OSError:  # the end of a pseudo-terminal on Linux
            pass
        assert process.wait() == 0
    os.close(master)
    lines = shown.decode().replace("\r", "").splitlines()
    whole = said("why", path, "padded", "--target", "8.2")
    assert max(map(len, whole.splitlines())) > 100
    words = [word for word in whole.split() if len(word) < 60]
    # A path is not broken.
    assert all(len(line) <= 80 or " " not in line.strip() for line in lines)
    assert [word for word in " ".join(lines).split() if len(word) < 60] == words
