"""A hint is printed only if following it gets further: each one is followed here."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import onnx
import onnx.parser
import pytest
from typer.testing import CliRunner

import tripoint
from tests.helpers.marks import needs_tensorrt
from tests.helpers.paths import TESTS
from tripoint.cli import app
from tripoint.engine import next_step
from tripoint.table import Refusal
from tripoint.trt import messages, process

COMMAND = re.compile(
    r"\btripoint (run|export|shapes|why|fix|profile|build|inspect|verify|locate|triton|log)\b"
)

FOLLOWED = {
    # What the tests here follow.
    "tripoint shapes lists them": "test_shapes_lists_the_tensors",
    ", which tripoint profile lists": "test_profile_lists_what_build_leaves_out",
    "tripoint profile proposes some)": "test_ranges_that_build_asks_for",
    "`tripoint inspect MODEL --layers` lists the nodes": "test_inspect_lists_the_nodes",
    "writes the axes; then build": "test_fix_writes_the_axes_that_build_lacks",
    "if no size is ever 1; then build": "test_ranges_without_1_decide_the_axes",
    "`tripoint fix MODEL -o FIXED.onnx ": "test_ranges_without_1_decide_the_axes",
    "`tripoint fix MODEL -o FIXED.onnx` rewrites it": "test_fix_rewrites_what_is_refused",
    "`tripoint shapes MODEL` lists all ": "test_a_refusal_that_nothing_helps_with_has_no_hint",
    "keeps the live branch; then build": "test_hints_of_messages_are_tried",
    "makes the sizes constant; then build": "test_hints_of_messages_are_tried",
    "rewrites what makes the size; then build": "test_hints_of_messages_are_tried",
    "lists frozen sizes": "test_hints_of_messages_are_tried",
    "marks data-dependent dims": "test_hints_of_messages_are_tried",
    # What messages of TensorRT get that tripoint itself cannot provoke here: it asks first, or no
    # GPU is at hand. The commands are those of the tests that are named.
    "`tripoint build MODEL` then": "shape_inference/test_dim_names.py",
    "`tripoint profile MODEL` proposes": "profiles/test_proposal.py",
    "writes such a Pad as a Concat; then build": "rewrites/test_padded_sizes.py",
    "`tripoint fix MODEL -o FIXED.onnx`": "views/test_quantized_refusals.py",
    "`tripoint verify MODEL --torch REFERENCE` compares": "shape_inference/test_hardcoded_sizes.py",
    "asks for their values": "profiles/test_wrong_profiles.py",
    "`tripoint fix MODEL -o FIXED.onnx` says that otherwise": "analysis/test_misreading.py",
    "shows the profile; build again": "engine/test_inspect_layers.py",
    "shows what built it": "engine/test_manifest.py",
    "compare its hash": "engine/test_manifest.py",
    "`tripoint why MODEL TENSOR` shows": "analysis/test_origins.py",
    "`tripoint verify MODEL --engine PLAN`": "parity/test_verify_results.py",
    "build it again here: tripoint build": "runner/test_runner.py",
    "this very file; tripoint log shows it": "views/test_log.py",
    "`tripoint build --keep-fp32 @FILE`": "parity/locate/test_precision.py",
    "tripoint build writes both": "triton/test_export.py",
    "tripoint triton export": "triton/test_check.py",
    "tripoint triton check": "triton/test_check.py",
}
"""What follows each text of the package that names a command."""

NO_HINTS = ("tripoint fix: the whole", "tripoint export")


def texts():
    """The texts of the package, docstrings aside, that name a command of tripoint."""
    for path in sorted(Path(tripoint.__file__).parent.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        alone = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or node in alone:
                continue
            if isinstance(node.value, str) and COMMAND.search(node.value):
                yield f"{path.name}:{node.lineno}", node.value


def test_every_hint_with_a_command_is_followed_somewhere():
    unknown = [
        (place, text)
        for place, text in texts()
        if not text.startswith(NO_HINTS) and not any(known in text for known in FOLLOWED)
    ]
    assert not unknown, "follow these in a test, and list them here"
    here = {name for name in globals() if name.startswith("test_")}
    for test in FOLLOWED.values():
        assert test in here or (TESTS / test).is_file(), test


def saved(folder, text, opset=13):
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> g {text}')
    onnx.save(proto, folder / "model.onnx")
    return folder / "model.onnx"


def said(*words):
    return CliRunner().invoke(app, [*map(str, words)])


def hint(result):
    """The hint that a command ended with."""
    (line,) = [line for line in result.output.splitlines() if line.startswith("  next: ")]
    return line.removeprefix("  next: ")


def options(text):
    """The options in a hint, ready to be given."""
    return re.findall(r"--[a-z-]+ [^\s`]+", text)


RELU = "(float[N,M] x) => (float[N,M] y) { y = Relu(x) }"


def test_shapes_lists_the_tensors(tmp_path):
    path = saved(tmp_path, RELU)
    refused = said("why", path, "nothing_like_it", "--target", "10.1")
    assert hint(refused) == "tripoint shapes lists them"
    listed = said("shapes", path, "--target", "10.1").stdout
    assert said("why", path, listed.split()[-20:] and "y", "--target", "10.1").exit_code == 0
    assert "\n  y " in listed


@needs_tensorrt
def test_ranges_that_build_asks_for(tmp_path):
    path = saved(tmp_path, RELU)
    asked = said("build", path, "-o", tmp_path / "m.plan", "-q")
    assert asked.exit_code == 2
    words = shlex.split(" ".join(options(hint(asked))))
    assert words == ["--dim", "N=1..8..32", "--dim", "M=1..8..32"]
    assert said("build", path, "-o", tmp_path / "m.plan", "-q", *words).exit_code == 0
    assert said("profile", path).exit_code == 0


def test_profile_lists_what_build_leaves_out(tmp_path):
    path = saved(
        tmp_path,
        "(float[N,M] x, float[K,M] z) => (float[a,b] y) <int64[2] s={-1, 6}> "
        "{ r = Reshape(x, s) q = Concat<axis=1>(r, r) t = Reshape(z, s) y = Concat<axis=0>(q, t) }",
    )
    sizes = ["--dim", "N=1", "--dim", "M=5", "--dim", "K=1"]
    refused = said("build", path, "-o", tmp_path / "m.plan", "-q", *sizes)
    assert refused.exit_code == 2
    if ", which tripoint profile lists" in refused.output:
        listed = said("profile", path, *sizes)
        assert listed.output.count("error: ") > 1
        assert "next: tripoint profile" not in listed.output


def test_profile_does_not_point_at_itself(tmp_path):
    path = saved(
        tmp_path,
        "(float[P,S] x, float[M] z) => (float[a,b] y) <int64[1] i={11}> "
        "{ r = Gather<axis=0>(x, i) y = Add(r, z) }",
    )
    for sizes in ([], ["--dim", "P=1..2..4"], ["--dim", "P=20", "--dim", "S=3", "--dim", "M=4"]):
        shown = said("profile", path, *sizes).output
        assert "next: tripoint profile" not in shown
        assert "which tripoint profile lists" not in shown


@needs_tensorrt
def test_inspect_lists_the_nodes(tmp_path):
    path = saved(tmp_path, "(float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    words = ["build", path, "-o", tmp_path / "m.plan", "-q", "--precision", "fp16"]
    refused = said(*words, "--keep-fp32", "zzzzzz")
    assert hint(refused) == "`tripoint inspect MODEL --layers` lists the nodes"
    assert "y" in said("inspect", path, "--layers").stdout.split()


SQUEEZED = "(float[N,1,M] x) => (float[a,b] y) { s = Squeeze(x) y = Transpose<perm=[1,0]>(s) }"
OPEN = "(float[N,1,M] x) => (float[a] y) { s = Squeeze(x) y = Relu(s) }"
SIZES = ["--dim", "N=2..3..4", "--dim", "M=2..3..4"]


def follow_fix(tmp_path, text):
    """Run the ``fix`` of a hint as it is printed, and build what it wrote."""
    (command,) = re.findall(r"`tripoint (fix [^`]+)`", text)
    words = shlex.split(command.replace("FIXED.onnx", str(tmp_path / "fixed.onnx")))
    assert said(*words, "-q").exit_code == 0
    return said("build", tmp_path / "fixed.onnx", "-o", tmp_path / "m.plan", "-q", *SIZES)


@needs_tensorrt
def test_fix_writes_the_axes_that_build_lacks(tmp_path):
    path = saved(tmp_path, SQUEEZED)
    refused = said("build", path, "-o", tmp_path / "m.plan", "-q", *SIZES)
    assert refused.exit_code == 4
    assert hint(refused).endswith("writes the axes; then build FIXED.onnx")
    assert follow_fix(tmp_path, hint(refused)).exit_code == 0


@needs_tensorrt
def test_ranges_without_1_decide_the_axes(tmp_path):
    path = saved(tmp_path, OPEN)
    refused = said("build", path, "-o", tmp_path / "m.plan", "-q", *SIZES)
    assert "squeeze(dim)" in hint(refused)
    assert "--dim N=2..8..32 --dim M=2..8..32` if no size is ever 1" in hint(refused)
    assert follow_fix(tmp_path, hint(refused)).exit_code == 0


@needs_tensorrt
def test_no_hint_goes_in_a_circle(tmp_path):
    path = saved(tmp_path, OPEN)
    written = tmp_path / "fixed.onnx"
    assert said("fix", path, "-o", written, "-q").exit_code == 0
    refused = said("build", written, "-o", tmp_path / "m.plan", "-q", *SIZES)
    assert "writes the axes; then build" not in refused.output


@needs_tensorrt
def test_fix_rewrites_what_is_refused(tmp_path):
    """A node that TensorRT has no importer for, and that nothing reads."""
    path = saved(tmp_path, "(float[N,M,M] x) => (float[N,M,M] y) { d = Det(x) y = Relu(x) }")
    refused = said("build", path, "-o", tmp_path / "m.plan", "-q", *SIZES)
    assert refused.exit_code == 4
    assert "rewrites it; then build FIXED.onnx" in hint(refused)
    assert follow_fix(tmp_path, hint(refused)).exit_code == 0


@needs_tensorrt
def test_a_refusal_that_nothing_helps_with_has_no_hint(tmp_path):
    path = saved(tmp_path, "(float[N,M,M] x) => (float[N] y) { y = Det(x) }")
    refused = said("build", path, "-o", tmp_path / "m.plan", "-q", *SIZES)
    assert refused.exit_code == 4
    assert "tripoint fix" not in refused.output
    assert "tripoint shapes" not in refused.output


def test_several_refusals_are_listed_by_shapes(tmp_path, monkeypatch):
    model = tripoint.load(saved(tmp_path, RELU))
    monkeypatch.setattr(next_step, "_parses_further", lambda *_: False)
    refused = [Refusal("a", "Foo", "no"), Refusal("b", "Foo", "no")]
    found = next_step.after_refusal(model, refused, None, "tensorrt")
    assert found == "`tripoint shapes MODEL` lists all 2 nodes that it refuses"
    assert next_step.after_refusal(model, refused[:1], None, "tensorrt") is None


def test_the_file_is_spelled_out(tmp_path, monkeypatch):
    folder = tmp_path / "a folder"
    folder.mkdir()
    model = tripoint.load(saved(folder, RELU))
    monkeypatch.setattr(next_step, "_parses_further", lambda *_: True)
    found = next_step.after_refusal(model, [Refusal("a", "Foo", "no")], None, "tensorrt")
    assert found is not None
    assert f"`tripoint fix '{folder / 'model.onnx'}' -o FIXED.onnx`" in found


BRANCHES = """(float[N,3] x) => (float[a,b] y) <bool[1] c={1}> {
    y = If(c) <then_branch = g1 () => (float[q,r] p) { p = Relu(x) },
               else_branch = g2 () => (float[u,v] o) { o = Neg(x) }>
}"""
OPEN_BRANCHES = BRANCHES.replace("x)", "x, bool[1] c)", 1).replace("<bool[1] c={1}>", "")
FROZEN = "(float[N,8] x) => (float[a,b] y) <int64[2] s={4, 8}> { e = Expand(x, s) y = Add(x, e) }"
FOREIGN = "requires foreign node optimizations incompatible with data-dependent shapes"
NONZERO = "(float[N,8] x) => (int64[2,k] y) { y = NonZero(x) }"


@pytest.mark.parametrize(
    ("message", "helps", "not_helped"),
    [
        ("IIfConditionalOutputLayer inputs must have the same shape", BRANCHES, OPEN_BRANCHES),
        ("reshape would change volume 24 to 16", FROZEN, RELU),
        (
            "requires foreign node optimizations incompatible with data-dependent shapes",
            NONZERO,
            RELU,
        ),
    ],
)
def test_hints_of_messages_are_tried(tmp_path, message, helps, not_helped):
    known = messages.of(message)
    assert known is not None
    assert known.tries is not None
    for text, expected in ((helps, known.hint), (not_helped, known.otherwise)):
        model = tripoint.load(saved(tmp_path, text))
        error = process.WorkerError("it failed", "failed", hint=known.hint)
        with pytest.raises(process.WorkerError), next_step.tried(model):
            raise error
        assert error.hint == next_step._spelled(expected, model)


def test_every_message_whose_hint_is_tried_has_another():
    for known in messages.MEANINGS:
        assert (known.tries is None) == (known.otherwise is None), known
        assert known.tries == "fix" or "`tripoint fix MODEL -o" not in known.hint
