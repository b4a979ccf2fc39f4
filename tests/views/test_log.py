"""Recorded verbose logs: what is read from them, in whatever state they are."""

from __future__ import annotations

import html
import io
import json
import re
import textwrap
import time
from collections.abc import Callable

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tests.helpers import graphs
from tests.helpers.paths import LOGS, TESTS
from tripoint.analysis.facts import of_recording
from tripoint.cli.log import log as log_command
from tripoint.errors import InputError
from tripoint.model import load
from tripoint.table import TensorTable
from tripoint.views import log
from tripoint.views.log import Recording

ECA = LOGS / "7.1-eca.log"

BODY = """\
Adding network input: x with dtype: float32, dimensions: (2, 3, 4)
Registering tensor: x for ONNX tensor: x
Importing initializer: w
Parsing node: /enc/first;[0] conv [Relu]
Searching for input: x
/enc/first;[0] conv [Relu] inputs: [x -> (2, 3, 4)[FLOAT]],\x20
Registering layer: /enc/first;[0] conv for ONNX node: /enc/first;[0] conv
Registering tensor: /enc/a:0 for ONNX tensor: /enc/a:0
/enc/first;[0] conv [Relu] outputs: [/enc/a:0 -> (2, 3, 4)[FLOAT]],\x20
Parsing node: node_of_s [Shape]
Searching for input: /enc/a:0
node_of_s [Shape] inputs: [/enc/a:0 -> (2, 3, 4)[FLOAT]],\x20
Registering tensor: s for ONNX tensor: s
node_of_s [Shape] outputs: [s -> (3)[INT32]],\x20
Parsing node: node_of_y[1] [Expand]
Searching for input: w
Searching for input: s
node_of_y[1] [Expand] inputs: [w -> (1, 3, 1)[FLOAT]], [s -> (3)[INT32]],\x20
Registering tensor: y[1]_0 for ONNX tensor: y[1]
node_of_y[1] [Expand] outputs: [y[1] -> (-1, 3, -1)[FLOAT]],\x20
Marking y[1]_0 as output: y[1]
""".splitlines()
ROWS = [
    ("x", None, None, (2, 3, 4), (2, 3, 4)),
    ("/enc/a:0", "Relu", "/enc/first;[0] conv", (2, 3, 4), (2, 3, 4)),
    ("s", "Shape", "s", (3,), (3,)),
    ("y[1]", "Expand", "y[1]", (2, 3, 4), (-1, 3, -1)),
]


def read(text: str | bytes) -> tuple[Recording, ...]:
    data = text if isinstance(text, bytes) else text.encode()
    return log.read_stream(io.BytesIO(data), "a.log")


def table(text: str | bytes) -> TensorTable:
    (recording,) = read(text)
    return of_recording(recording).table


def rows(found: TensorTable) -> list[object]:
    return [(f.name, f.op, f.node, f.shape, f.tensorrt) for f in found.tensors]


def lines_of(*nodes: str, inputs: str = "x (2, 3)") -> str:
    """A log of 8.x from ``op: input (dims), ... => output (dims), ...`` for each node."""

    def items(text: str) -> list[tuple[str, str]]:
        return re.findall(r"(\S+) (\([^)]*\))", text)

    lines = [
        f"Adding network input: {name} with dtype: float32, dimensions: {dims}"
        for name, dims in items(inputs)
    ]
    for index, node in enumerate(nodes):
        op, _, ports = node.partition(": ")
        before, _, after = ports.partition(" => ")
        lines.append(f"Parsing node: n{index} [{op}]")
        for word, listed in (("inputs", before), ("outputs", after)):
            text = "".join(f"[{name} -> {dims}[FLOAT]], " for name, dims in items(listed))
            lines.append(f"n{index} [{op}] {word}: {text}")
    return "\n".join(lines)


def shape_of(text: str, name: str) -> object:
    return table(text).by_name[name].shape


# What each version writes


@pytest.mark.parametrize(
    ("name", "versions"),
    [
        ("7.0-yolo-end", ["7.0"]),
        ("7.1-eca", ["7.1"]),
        ("7.1-eca-wrapped", ["7.1"]),
        ("7.2-mask", ["7.2"]),
        ("8.0-points", ["8.0"]),
        ("8.2-embedding", ["8.2-8.4"]),
        ("8.6-polygraphy", ["8.6.1"]),
        ("10.1-two-models", ["10.1.0", "10.1.0"]),
    ],
)
def test_version_of_each_recorded_log(name, versions):
    recordings = log.read(LOGS / f"{name}.log")
    assert [recording.version for recording in recordings] == versions
    assert all(recording.evidence for recording in recordings)
    assert {recording.view.target.kind for recording in recordings} == {"log"}


@pytest.mark.parametrize("name", ["7.1-eca", "7.1-eca-wrapped"])
def test_eca_document_shows_where_the_loss_begins(name):
    (recording,) = log.read(LOGS / f"{name}.log")
    known = of_recording(recording)
    found = known.table
    assert recording.model.opset == 9
    assert found.origins == ("13",)
    assert {facts.name: facts.lost for facts in found.tensors if facts.lost} == {
        "13": (0, 1, 2, 3),
        "14": (0,),
        "15": (0,),
    }
    assert {name: found.by_name[name].shape for name in ("13", "14", "15")} == dict.fromkeys(
        ("13", "14", "15"), (1, 5, 5, 5)
    )
    assert (found.inputs, found.outputs) == (("input.1",), ("15",))
    chain = known.chain("15")
    assert [step.tensor for step in chain.back] == ["15", "14", "13", "12"]
    assert "reads the sizes of `4` (1, 5, 5, 5)" in chain.back[-1].reason
    assert found.by_name["12"].role == "shape"
    assert (recording.notes, found.refusals) == ((), ())


def test_wrapped_and_mangled_log_says_the_same():
    tidy, mangled = (log.read(LOGS / f"7.1-eca{end}.log")[0] for end in ("", "-wrapped"))
    assert rows(of_recording(mangled).table) == rows(of_recording(tidy).table)
    assert mangled.evidence == tidy.evidence


def test_end_of_a_70_log_keeps_the_name_of_the_output():
    (recording,) = log.read(LOGS / "7.0-yolo-end.log")
    found = of_recording(recording).table
    assert found.outputs == ("outputs",)
    assert found.by_name["outputs"].tensorrt == (1, 8400, 85)
    assert found.inputs == ("411", "467", "302", "360")
    assert recording.notes == (
        "it does not show what makes `411`, `467`, `302` and 1 more; shown as inputs of the graph",
    )


def test_dynamic_sizes_are_followed_and_not_lost():
    (recording,) = log.read(LOGS / "7.2-mask.log")
    found = of_recording(recording).table
    assert found.by_name["11"].shape == (1, "mask_dim1", 1539)
    assert found.by_name["24"].shape == (1, 1, "keys_dim1")
    assert (found.summary.lost_dims, found.summary.dynamic_dims) == (0, 5)
    assert found.by_name["mask"].dtype == "int32"


def test_types_of_weights_are_those_of_the_model():
    (recording,) = log.read(LOGS / "8.2-embedding.log")
    found = of_recording(recording).table
    assert found.by_name["33"].dtype == "int64"
    assert found.by_name["34"].dtype == "int32"
    assert found.by_name["out"].shape == ("input2_dim0", 1, 10, 1)
    assert found.outputs == ("out", "43")


def test_failed_node_of_a_polygraphy_log_is_refused():
    (recording,) = log.read(LOGS / "8.6-polygraphy.log")
    found = of_recording(recording).table
    (refusal,) = found.refusals
    assert (refusal.node, refusal.op) == ("Reshape_966", "Reshape")
    assert refusal.reason.startswith("TensorRT 8.6.1 (recorded) holds this node to be invalid: ")
    assert refusal.reason.count("Reshaping [6,1000,8,32] to [6,334,-1]") == 1
    assert found.by_name["/model.22/Reshape_output_0"].shape == ("images_dim0", 144, 400)
    assert found.by_name["r966"].tensorrt is None


def test_two_models_of_one_log_are_kept_apart():
    first, second = log.read(LOGS / "10.1-two-models.log")
    one, two = of_recording(first).table, of_recording(second).table
    assert [facts.name for facts in one.tensors] == ["x", "c", "y", "z", "tz", "ez"]
    assert one.by_name["tz"].node == "then relu"
    assert (one.outputs, one.refusals, first.model.opset) == (("y", "z"), (), 17)
    assert [facts.name for facts in two.tensors] == ["x", "q", "y"]
    (refusal,) = two.refusals
    assert (refusal.node, refusal.op) == ("y", "Squeeze")
    assert "does not support this operator with dynamic shapes" in refusal.reason


# In whatever state they are


def stamped(line: str) -> str:
    return f"[05/20/2024-08:00:01] [V] [TRT] {line}"


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "[V] ",
        "[X]     ",
        "    [05/20/2024-08:00:01] [V] [TRT] ",
        "[08:00:01] [V] [TRT] ",
        "[TensorRT] VERBOSE: ",
        "[05/20/2024-08:00:01] [TRT] [V] ",
        "[TRT] [V] ",
        "[TRT_v8203] [V] ",
        "2024-05-20 08:00:01.123 [V:onnxruntime:, trt.h:51 log] [2024-05-20 08:00:01 VERBOSE] ",
        "[2024-05-20 08:00:01 VERBOSE] ",
        "V0520 08:00:01.123456 17 logging.cc:46] ",
        "2024-05-20 08:00:01 - __main__ - DEBUG - ",
        "my logger | 12 | ",
        "[V] [TRT] ModelImporter.cpp:107: ",
        "[V] [TRT] /home/a/onnx-tensorrt/ModelImporter.cpp:107: ",
        "[TensorRT] VERBOSE: [TRT]ModelImporter.cpp:103: ",
        "ModelImporter.cpp:103: ",
    ],
)
def test_prefix_of_a_logger_does_not_matter(prefix):
    assert rows(table("\n".join(prefix + line for line in BODY))) == ROWS


@pytest.mark.parametrize(
    "mangle",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace(", \n", ",\n"),
        lambda text: text.replace(", \n", "\n"),
        lambda text: html.escape(text),
        lambda text: re.sub(r"([_\[\]*])", r"\\\1", text),
        lambda text: re.sub(r"^(.*)$", "\x1b[0;37m\\1\x1b[0m", text, flags=re.M),
        lambda text: text.replace("\n", "\nprogress  12%|##\r") + "\n",
        lambda text: text.replace("\n", "\n\n"),
        lambda text: text.replace("\n", "\n[05/20/2024-08:00:01] [I] something else\n"),
        lambda text: "\N{ZERO WIDTH NO-BREAK SPACE}" + text,
        lambda text: (text + "\n").encode("utf-16"),
        lambda text: (text + "\n").encode("utf-16-le"),
        lambda text: (text + "\n").encode("utf-16-be"),
        lambda text: text.encode() + b"\n\xff\xfe\x00\xc3(",
    ],
    ids=[
        *("crlf", "trimmed", "comma-dropped", "html", "markdown", "ansi", "progress", "spaced"),
        *("interleaved", "bom", "utf-16", "utf-16-le", "utf-16-be", "not-utf-8"),
    ],
)
@pytest.mark.parametrize("prefixed", [True, False])
def test_mangled_log_says_the_same(mangle, prefixed):
    text = "\n".join(map(stamped, BODY) if prefixed else BODY)
    assert rows(table(mangle(text))) == ROWS


@pytest.mark.parametrize("width", [46, 55, 64, 72, 80])
@pytest.mark.parametrize("at", ["blank", "column"])
def test_wrapped_lines_are_put_together(width, at):
    wrapped = []
    for line in (stamped(line.rstrip()) for line in BODY):
        if at == "column":
            wrapped += [line[i : i + width] for i in range(0, len(line), width)]
        else:
            wrapped += textwrap.wrap(line, width, break_long_words=False, break_on_hyphens=False)
    assert max(map(len, wrapped)) <= width
    assert rows(table("\n".join(wrapped))) == ROWS


@pytest.mark.parametrize(
    "kept",
    [
        lambda line: json.dumps({"log": f"{line}\n", "stream": "stdout", "time": "2024-11-20"}),
        lambda line: json.dumps({"severity": "DEBUG", "message": line}),
        lambda line: json.dumps({"level": "debug", "msg": line}),
        lambda line: json.dumps({"textPayload": line, "severity": "INFO"}),
        lambda line: f"2024-11-20T12:00:00.123456789Z stdout F {line}",
        lambda line: f"2024-11-20T12:00:00.1+01:00 stderr F {line}",
    ],
)
@pytest.mark.parametrize("prefix", ["", "[11/20/2024-12:00:00] [V] [TRT] "])
def test_what_collectors_of_logs_keep_says_the_same(kept, prefix):
    text = lines_of("Relu: x (2, 3) => a (2, 3)", "Reshape: a (2, 3), w (2) => y (-1, -1)")
    plain = [f"{prefix}{line}" for line in text.splitlines()]
    collected = "\n".join(kept(line) for line in plain)
    assert rows(table(collected)) == rows(table("\n".join(plain)))


def test_list_goes_on_in_lines_without_a_prefix():
    line = "n [Concat] outputs: [a -> (1, 2)],"
    found = table(f"Parsing node: n [Concat]\n{line}\n[b -> (3)], [c c -> ()],\n  [d -> (4)]")
    assert [(f.name, f.tensorrt) for f in found.tensors] == [
        ("a", (1, 2)),
        ("b", (3,)),
        ("c c", ()),
        ("d", (4,)),
    ]


def test_log_that_ends_early_shows_what_came_before():
    text = "\n".join(map(stamped, BODY))
    for end in range(len(text)):
        try:
            found = rows(table(text[:end]))
        except InputError:
            assert end < text.index("dimensions: (2, 3, 4)") + 21
            continue
        names = [row[0] for row in found]
        assert names[:1] in (["x"], [])
        assert len(found) <= len(ROWS)


def test_damaged_lines_are_counted():
    (recording,) = read("\n".join([*BODY, "Adding network input: z with dtype float"]))
    assert recording.notes == ("1 lines of the parser in it are damaged and were left out",)


def test_missing_optional_input_scalar_and_weights():
    found = read(
        "Parsing node: n [Clip]\n"
        "n [Clip] inputs: [x -> (2)[FLOAT]], [optional input, not set], [m -> ()[FLOAT]], \n"
        "n [Clip] outputs: [y -> (2)[FLOAT]], \n"
    )[0]
    (node,) = found.model.ir.graph
    assert [value.name if value is not None else None for value in node.inputs] == ["x", None, "m"]
    assert found.view.shapes["m"] == ()


def test_long_and_odd_names_are_kept():
    name = "a" * 10_000
    text = lines_of(f"Relu: x (2, 3) => {name} (2, 3)", f"Relu: {name} (2, 3) => y] (2, 3)")
    assert [facts.name for facts in table(text).tensors] == ["x", name, "y]"]


def test_nodes_of_a_local_function_belong_to_its_call():
    found = table(
        "Adding network input: x with dtype: float32, dimensions: (2, 3)\n"
        "Parsing node: call [f]\ncall [f] inputs: [x -> (2, 3)[FLOAT]], \n"
        "Found regisitered local function: f. Importing as a local function.\n"
        "Parsing node: node_of_x [Relu]\nnode_of_x [Relu] inputs: [p -> (2, 3)[FLOAT]], \n"
        "node_of_x [Relu] outputs: [x -> (9, 9)[FLOAT]], \n"
        "call [f] outputs: [y -> (2, 3)[FLOAT]], \n"
        "Parsing node: n [Neg]\nn [Neg] inputs: [x -> (2, 3)[FLOAT]], \n"
        "n [Neg] outputs: [z -> (2, 3)[FLOAT]], \nMarking z as output: z\n"
    )
    assert [(f.name, f.op, f.tensorrt) for f in found.tensors] == [
        ("x", None, (2, 3)),
        ("y", "f", (2, 3)),
        ("z", "Neg", (2, 3)),
    ]


def test_body_of_a_loop_is_part_of_its_node():
    (recording,) = read(
        "Adding network input: x with dtype: float32, dimensions: (2, 3)\n"
        "Parsing node: loop [Loop]\nloop [Loop] inputs: [x -> (2, 3)[FLOAT]], \n"
        "Registering tensor: state for ONNX tensor: state\n"
        "Parsing node: a [Slice]\na [Slice] inputs: [state -> (2, 3)[FLOAT]], \n"
        "a [Slice] outputs: [inner -> (2, -1)[FLOAT]], \n"
        "loop [Loop] outputs: [y -> (2, 3)[FLOAT]], [scan -> (-1, 2, 3)[FLOAT]], \n"
        "Marking scan as output: scan\n"
    )
    found = of_recording(recording).table
    assert [facts.name for facts in found.tensors] == ["x", "y", "scan", "state", "inner"]
    assert [node.op_type for node in recording.model.ir.graph] == ["Loop"]
    assert found.summary.lost_dims == 0
    assert found.inputs == ("x",)


def test_static_checks_make_no_node():
    checks = [f"Static check for parsing node: n{i} [Relu]" for i in range(3)]
    text = "\n".join((*checks, lines_of("Relu: x (2, 3) => y (2, 3)")))
    (recording,) = read(text)
    assert recording.version == "9.1 or later"
    assert recording.model.nodes == 1


# What follows about true shapes


@pytest.mark.parametrize(
    ("node", "true"),
    [
        ("Relu: x (2, 3) => y (-1, 3)", (2, 3)),
        ("Softmax: x (2, 3) => y (-1, -1)", (2, 3)),
        ("MatMul: x (2, 3), w (3, 5) => y (-1, -1)", (2, 5)),
        ("MatMul: x (2, 3), w (3) => y (-1)", (2,)),
        ("Add: x (2, 3), w (1) => y (-1, -1)", (2, 3)),
        ("Add: x (2, 3), w (7, 1, 1) => y (-1, -1, -1)", (7, 2, 3)),
        ("Transpose: x (2, 3) => y (-1, 2)", (3, 2)),
        ("Unsqueeze: x (2, 3) => y (2, -1, 3)", (2, 1, 3)),
        ("Flatten: x (2, 3) => y (1, -1)", (1, 6)),
        ("Reshape: x (2, 3), w (2) => y (-1, 2)", (3, 2)),
        ("Reshape: x (2, 3), w (1) => y (-1)", (6,)),
        ("Concat: x (2, 3), w (2, 4) => y (2, -1)", (2, 7)),
        ("Concat: x (2, 3), w (2, 4) => y (-1, -1)", (2, 7)),
        ("Gather: x (2, 3), w (9) => y (-1, 3)", (9, 3)),
        ("Gemm: x (2, 3), w (3, 4) => y (-1, -1)", (2, 4)),
        ("GlobalAveragePool: x (2, 3) => y (-1, -1)", (2, 3)),
        ("Expand: x (2, 3), w (2) => y (-1, -1)", (2, 3)),
    ],
)
def test_size_is_true_where_every_attribute_gives_the_same(node, true):
    found = table(f"Importing initializer: w\n{lines_of(node)}")
    assert found.by_name["y"].shape == true
    assert found.by_name["y"].fixed == ()
    assert found.summary.unresolved_dims == 0


@pytest.mark.parametrize(
    ("node", "true"),
    [
        ("Transpose: x (2, 3) => y (-1, -1)", (None, None)),
        ("Reshape: x (2, 3), w (2) => y (-1, -1)", (None, None)),
        ("Concat: x (2, 2), w (2, 2) => y (-1, -1)", (None, None)),
        ("Unsqueeze: x (1, 3) => y (-1, -1, 3)", (1, 1, 3)),
        ("Squeeze: x (2, 3) => y (-1)", (None,)),
        ("ReduceSum: x (2, 3) => y (-1, -1)", (None, None)),
        ("Conv: x (2, 3), w (4, 3) => y (-1, -1)", (None, None)),
        ("Slice: x (2, 3), w (1) => y (-1, 3)", (None, 3)),
    ],
)
def test_size_that_an_attribute_decides_is_lost_but_not_guessed(node, true):
    given = node.partition(": ")[2].partition(")")[0] + ")"
    facts = table(f"Importing initializer: w\n{lines_of(node, inputs=given)}").by_name["y"]
    assert facts.shape is not None
    assert [dim if isinstance(dim, int) else None for dim in facts.shape] == list(true)
    assert facts.fixed == tuple(axis for axis, dim in enumerate(true) if dim is None)
    assert facts.lost == tuple(axis for axis, dim in enumerate(facts.tensorrt or ()) if dim == -1)


@pytest.mark.parametrize(
    ("kernel", "printed", "true"),
    [
        ("(3, 3), strides: (2, 2), prepadding: (1, 1), postpadding: (1, 1)", (-1, 4, -1, 4), 4),
        ("(1, 1), strides: (1, 1), prepadding: (0, 0), postpadding: (0, 0)", (-1, 4, -1, 8), 8),
        # Padding that auto_pad makes is not printed; the other axis shows it.
        ("(3, 3), strides: (1, 1), prepadding: (0, 0), postpadding: (0, 0)", (-1, 4, -1, 8), None),
        ("(3, 3), strides: (1, 1), prepadding: (0, 0), postpadding: (0, 0)", (-1, 4, -1, 6), 6),
        ("(3, 3), strides: (1, 1), prepadding: (0, 0), postpadding: (0, 0)", (1, 4, -1, -1), None),
    ],
)
def test_convolution_lines_decide_its_sizes(kernel, printed, true):
    dims = f"({', '.join(map(str, printed))})"
    text = lines_of(f"Conv: x (1, 3, 8, 8), w (4, 3, 3, 3) => y {dims}", inputs="x (1, 3, 8, 8)")
    line = f"Using kernel: {kernel}, dilations: (1, 1), numOutputs: 4"
    shape = shape_of(text.replace("n0 [Conv] outputs", f"{line}\nn0 [Conv] outputs"), "y")
    assert shape[:2] == (1, 4)
    assert shape[2] == true if true else isinstance(shape[2], str)


def test_sizes_are_read_through_shape_cast_and_concat():
    found = table(
        lines_of(
            "Shape: x (2, 3) => s (2)",
            "Cast: s (2) => c (2)",
            "Concat: c (2), c (2) => t (4)",
            "ConstantOfShape: t (4) => y (-1, -1, -1, -1)",
            "Reshape: y (-1, -1, -1, -1), s (2) => z (-1, -1)",
        )
    )
    assert found.by_name["y"].shape == (2, 3, 2, 3)
    assert found.by_name["z"].shape == (2, 3)


def test_shape_with_start_or_end_is_not_taken_for_the_whole():
    found = table(lines_of("Shape: x (2, 3) => s (1)", "ConstantOfShape: s (1) => y (-1)")).by_name[
        "y"
    ]
    assert found.fixed == (0,)


@pytest.mark.parametrize(
    ("nodes", "inputs", "lost"),
    [
        # Only the operand's value is unknown, and it cannot change.
        (["Reshape: x (2, 3), w (2) => y (-1, -1)"], "x (2, 3)", (0, 1)),
        # The operand depends on values of an input.
        (["Reshape: x (2, 3), n (2) => y (-1, -1)"], "x (2, 3), n (2)", ()),
        (["Neg: n (2) => m (2)", "Reshape: x (2, 3), m (2) => y (-1, 2)"], "x (2, 3), n (2)", (0,)),
        (["Neg: n (2) => m (2)", "Expand: x (2, 1), m (2) => y (-1, -1)"], "x (2, 1), n (2)", (0,)),
        # Sizes of a static input do not vary, sizes of a dynamic one do.
        (["Shape: x (2, 3) => s (2)", "Range: s (2) => y (-1)"], "x (2, 3)", (0,)),
        (["Shape: x (-1, 3) => s (2)", "Range: s (2) => y (-1)"], "x (-1, 3)", ()),
        # Counts over values vary, and so does what is not a standard operator.
        (["NonZero: x (2, 3) => y (2, -1)"], "x (2, 3)", ()),
        (["NonZero: x (2, 3) => i (2, -1)", "Slice: i (2, -1) => y (-1, -1)"], "x (2, 3)", ()),
        (["MyPlugin: x (2, 3) => y (-1)"], "x (2, 3)", ()),
        (["TopK: x (2, 3), k (1) => y (2, -1)"], "x (2, 3), k (1)", ()),
        (["TopK: x (2, 3), w (1) => y (2, -1)"], "x (2, 3)", (1,)),
        # What nothing makes behind a list of inputs is a weight, also where no line imports it.
        (["Neg: c (2) => m (2)", "Reshape: x (2, 3), m (2) => y (-1, -1)"], "x (2, 3)", (0, 1)),
        (
            ["Concat: c (1), d (1) => m (2)", "Expand: x (2, 1), m (2) => y (-1, -1)"],
            "x (2, 1)",
            (0, 1),
        ),
        (
            ["Concat: c (1), n (1) => m (2)", "Reshape: x (2, 3), m (2) => y (-1, -1)"],
            "x (2, 3), n (1)",
            (),
        ),
        # Of a log without such a list, it is not known what varies.
        (["Neg: c (2) => m (2)", "Reshape: w (2, 3), m (2) => y (-1, -1)"], "", ()),
    ],
)
def test_size_is_lost_where_it_cannot_vary(nodes, inputs, lost):
    text = f"Importing initializer: w\n{lines_of(*nodes, inputs=inputs)}"
    assert table(text).by_name["y"].lost == lost


def test_counts_over_values_are_data_dependent():
    found = table(lines_of("NonZero: x (2, 3) => i (2, -1)", "Neg: i (2, -1) => y (2, -1)"))
    assert found.summary.data_dependent_dims == 2
    assert found.summary.unresolved_dims == 0


def test_unknown_elements_are_the_reason_of_a_loss():
    text = lines_of("Unsqueeze: x (2, 3) => y (-1, -1, -1)").replace(
        "n0 [Unsqueeze] outputs",
        "Original shape: (_, 3), unsqueezing to: (_, _, 3)\nn0 [Unsqueeze] outputs",
    )
    (recording,) = read(text)
    assert recording.view.reasons["y"].via == ("x",)
    assert "changes the rank of (_, 3) at run time" in recording.view.reasons["y"].text


def test_ignored_input_makes_the_printed_shape_untrue():
    node = "ReduceMean: x (2, 3), w (1) => y (1, 1)"
    body = f"Importing initializer: w\n{lines_of(node, 'Relu: y (1, 1) => z (1, 1)')}"
    found = table(body)
    (refusal,) = found.refusals
    assert refusal.reason.endswith("silently ignores the input `axes` of ReduceMean")
    assert not any(isinstance(dim, int) for dim in found.by_name["y"].shape or ())
    assert found.summary.lost_dims == 0
    newer = table(
        f"Registering layer: ONNXTRT_a required by ONNX-TRT\n{body}".replace(
            "Parsing node: n0 [ReduceMean]",
            "Static check for parsing node: n0 [ReduceMean]\nParsing node: n0 [ReduceMean]",
        )
    )
    assert newer.refusals == ()
    assert newer.by_name["y"].shape == (1, 1)


def test_printed_shape_of_a_refused_node_is_not_taken_as_true():
    text = lines_of("Foo: x (2, 3) => y (7, 7)", "Relu: y (7, 7) => z (7, -1)").replace(
        "n0 [Foo] outputs",
        "In node 0 with name: n0 and operator: Foo (f): UNSUPPORTED_NODE: no\nn0 [Foo] outputs",
    )
    found = table(text)
    assert found.by_name["y"].tensorrt == (7, 7)
    assert not any(isinstance(dim, int) for dim in found.by_name["y"].shape or ())


# Errors


@pytest.mark.parametrize(
    ("text", "node", "op", "reason"),
    [
        (
            'While parsing node number 5 [Foo -> "out"]:\n'
            "ERROR: ModelImporter.cpp:120 In function importModel:\n"
            "[5] Assertion failed: a && b: no such thing\n",
            "out",
            "Foo",
            "holds this graph to be invalid: no such thing",
        ),
        (
            '[E] [TRT] ModelImporter.cpp:773: While parsing node number 3 [Pad -> "p"]:\n'
            "[E] [TRT] ModelImporter.cpp:776: ERROR: onnx.cpp:9 In function importPad:\n"
            "[8] text of it",
            "p",
            "Pad",
            "does not support this operator here: text of it",
        ),
        (
            "In node 7 (importResize): UNSUPPORTED_NODE: Assertion failed: x: only constants",
            "node 7",
            "",
            "does not support this operator here: only constants",
        ),
        (
            "In node 4 with name: a b/c and operator: Squeeze (importSqueeze): "
            "UNSUPPORTED_NODE_DYNAMIC: Assertion failed: !d: dynamic",
            "a b/c",
            "Squeeze",
            "does not support this operator with dynamic shapes: dynamic",
        ),
        (
            "[TRT] [E] [graphShapeAnalyzer.cpp::analyzeShapes::1285] Error Code 4: "
            "Miscellaneous (reshape changes volume)",
            "",
            "",
            "Error Code 4: Miscellaneous (reshape changes volume)",
        ),
    ],
)
def test_log_with_errors_only(text, node, op, reason):
    (recording,) = read(text)
    (refusal,) = recording.view.refusals
    assert (refusal.node, refusal.op) == (node, op) or node == ""
    assert refusal.reason.endswith(reason)
    assert recording.notes == ("it has no verbose lines of the parser, so no shapes are in it",)
    assert of_recording(recording).table.tensors == ()


def test_error_of_the_core_is_attributed_to_the_node_that_is_parsed():
    text = lines_of("Relu: x (2, 3) => a (2, 3)") + (
        "\nParsing node: reshape [Reshape]\n"
        "[E] [graphShapeAnalyzer.cpp::analyzeShapes::1285] Error Code 4: Misc (bad volume)\n"
    )
    (recording,) = read(text)
    (refusal,) = recording.view.refusals
    assert (refusal.node, refusal.op) == ("reshape", "Reshape")


def test_error_of_the_build_names_its_node():
    text = lines_of("Relu: x (2, 3) => a (2, 3)") + (
        "\nMarking a as output: a\n"
        "[E] [TRT] n0: shapeMachine.cpp (160) - Shape Error in executeReshape: no solution\n"
        "[E] [TRT] nobody: knows\n"
    )
    (recording,) = read(text)
    (refusal,) = recording.view.refusals
    assert (refusal.node, refusal.op) == ("a", "Relu") or refusal.node == "n0"
    assert "fails when the engine is built" in refusal.reason


@pytest.mark.parametrize(
    ("said", "node"),
    [
        (
            "{ForeignNode[/blocks.0/norm1/Constant_output_0.../head/Gemm]}.)",
            "{ForeignNode[/blocks.0/norm1/Constant_output_0.../head/Gemm]}",
        ),
        (
            "{ForeignNode[/a.1/Mul (x).../b/Add]} due to insufficient workspace.)",
            "{ForeignNode[/a.1/Mul (x).../b/Add]}",
        ),
        ("/layers.0/conv/Conv + /layers.0/act/Relu.)", "/layers.0/conv/Conv + /layers.0/act/Relu"),
        ("/layers.0/conv/Conv.)", "/layers.0/conv/Conv"),
    ],
)
def test_name_of_what_is_not_implemented_is_kept_whole(said, node):
    (recording,) = read(
        "[E] Error[10]: [optimizer.cpp::computeCosts::3869] Error Code 10: Internal Error "
        f"(Could not find any implementation for node {said}\n"
    )
    (refusal,) = recording.view.refusals
    assert refusal.node == node
    assert "which means: mostly memory" in refusal.reason


@pytest.mark.parametrize(
    ("name", "tensor"), [("seq/reshape_1/Reshape", "seq/conv2d_41/BiasAdd:0"), ("n 1", "a.b")]
)
def test_error_of_a_running_engine_keeps_its_sizes(name, tensor):
    (recording,) = read(
        f"[12:15:24] [E] [TRT] {name}: reshaping failed for tensor: {tensor}\n"
        "[12:15:24] [E] [TRT] shapeMachine.cpp (160) - Shape Error in executeReshape: reshape "
        "would change volume\n"
        "[12:15:24] [E] [TRT] Instruction: RESHAPE_ZERO_IS_PLACEHOLDER{1 2 1 1} {1 2 262144}\n"
    )
    (refusal,) = recording.view.refusals
    assert (refusal.node, refusal.op) == (name, "Reshape")
    for part in ("when the engine runs", f"`{tensor}`", "change volume", "{1 2 1 1} {1 2 262144}"):
        assert part in refusal.reason


@pytest.mark.parametrize("op", ["Reshape", "Conv"])
def test_block_of_a_refused_node_tells_its_name(op):
    (recording,) = read(
        f'[E] [TRT] ModelImporter.cpp:948: While parsing node number 352 [{op} -> "out"]:\n'
        '[E] [TRT] ModelImporter.cpp:950: --- Begin node ---\ninput: "flat"\ninput: "1002"\n'
        f'output: "out"\nname: "n_982"\nop_type: "{op}"\n\n'
        "[E] [TRT] ModelImporter.cpp:951: --- End node ---\n"
        "[E] [TRT] ModelImporter.cpp:953: ERROR: ModelImporter.cpp:195 In function parseNode:\n"
        "[6] Invalid Node - n_982\nITensor::getDimensions: Error Code 4: Shape Error (reshape "
        "changes volume. Reshaping [6,4096] to [1,4096].)\n"
    )
    (refusal,) = recording.view.refusals
    assert (refusal.node, refusal.op) == ("n_982", op)
    assert "Reshaping [6,4096] to [1,4096]" in refusal.reason


@pytest.mark.parametrize("text", ["", "hello\n", "[05/20/2024-08:00:01] [I] Starting inference\n"])
def test_file_without_lines_of_a_parser_says_how_to_record_one(text):
    with pytest.raises(InputError) as caught:
        read(text)
    assert "trtexec --verbose" in str(caught.value)
    assert "trt.Logger.VERBOSE" in str(caught.value)
    assert "-vv" in str(caught.value)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        log.read(tmp_path / "none.log")
    with pytest.raises(InputError, match="cannot be read"):
        log.read(tmp_path)


# Versions


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v8203] # trtexec", "8.2.3"),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v100300] [b1] # trtexec", "10.3.0"),
        ("[05/20/2024-08:00:01] [I] TensorRT version: 8.5.1", "8.5.1"),
        ("[V] Loaded Module: tensorrt | Version: 8.4.1.5 | Path: ['/a']", "8.4.1.5"),
        ("", "8.0-9.0"),
        ("&&&& RUNNING TensorRT.trtexec [TensorRT v7103] # trtexec", "8.0-9.0"),
    ],
)
def test_banner_tells_the_version_unless_the_lines_cannot_be_its_own(text, version):
    body = lines_of("Relu: x (2, 3) => y (2, 3)")
    if "v100300" in text:
        body = body.replace("Parsing", "Static check for parsing node: n0 [Relu]\nParsing")
    (recording,) = read(f"{text}\n{body}")
    assert recording.version == version
    if "v7103" in text:
        assert "but the program printed version 7.1.3" in recording.evidence


@pytest.mark.parametrize(
    ("line", "version"),
    [
        ("Registering constant layer: w for ONNX initializer: w", "7.2"),
        (
            "[W] onnx2trt_utils.cpp:362: Your ONNX model has been generated with INT64 weights",
            "8.0",
        ),
        (
            "[W] onnx2trt_utils.cpp:374: Your ONNX model has been generated with INT64 weights",
            "8.6",
        ),
        ("Registering layer: ONNXTRT_castHelper required by ONNX-TRT", "10 or later"),
        ("n [Cast] outputs: [a -> (1)[INT64 -> INT32]], ", "8.0-8.4"),
        ("n [Cast] outputs: [a -> (1)[BF16]], ", "9.0 or later"),
        ("Parsing node:  [Relu]", "7.0-7.2"),
        ("[TensorRT] VERBOSE: n [Relu] outputs: [a -> (1)[FLOAT]], ", "8.0"),
        ("[TRT] [V] n [Relu] outputs: [a -> (1)[FLOAT]], ", "8.2 or later"),
        ("Original shape: (3), unsqueezing to: (3, 1)", "7.0"),
        ("Original shape: (), unsqueezing to: (1,)", "7.1 or later"),
        ("[V] [TRT] ImporterContext.hpp:97: Registering tensor: a for ONNX tensor: a", "7.0"),
        ("[V] [TRT] ImporterContext.hpp:5: Registering tensor: a for ONNX tensor: a", "7.0-7.2"),
        ("Registering tensor: a_0 for ONNX tensor: a", "7.2 or later"),
        ("Searching for input: a", "any"),
    ],
)
def test_form_of_one_line_narrows_the_version(line, version):
    (recording,) = read(f"{line}\nSearching for input: a")
    assert recording.version == version
    assert recording.evidence


# Joined to a model


def test_view_of_a_log_joins_a_model_by_name():
    (recording,) = log.read(ECA)
    model = load(graphs.GRAPH_A)
    joined = log.join(recording, model)
    assert joined.shapes == recording.view.shapes
    assert log.missing(recording, model) == ()


def test_tensors_that_the_model_lacks_are_counted():
    (recording,) = log.read(ECA)
    model = graphs.build("float[1,3,5,5] x", "a = Relu (x); y = Neg (a)")
    with pytest.raises(InputError, match="none of the 13 tensors"):
        log.join(recording, model)
    for value in model.ir.graph.inputs:
        value.name = "input.1"
    assert log.join(recording, model).shapes == {"input.1": (1, 3, 5, 5)}
    assert len(log.missing(recording, model)) == 12


# Hostile


@pytest.mark.parametrize(
    "text",
    [
        "[V] x [Relu] inputs: " + "[" * 300_000,
        "[V] x [Relu] inputs: [" + " -> (1" * 100_000,
        "[V] x [Relu] outputs: " + "[a -> (1)], " * 20_000,
        "[V] x [Relu] inputs: [a -> (1\n" * 20_000,
        "[V] " * 200_000,
        "[12:00:00] " * 100_000,
        "/a" * 300_000,
        "a.cpp:1: " * 100_000,
        "[E] " + "In node 1 with name: " * 50_000,
        "[E] " + "While parsing node number 1 [" * 50_000,
        "[E] In node 1 (f): CODE: text\n" * 20_000,
        "[V] " + "Using kernel: (" * 100_000,
        "\n".join(f"[V] Parsing node: n{i} [If]" for i in range(5_000)),
        "Parsing node: n [Relu]\nn [Relu] outputs: [a -> (1)], \n" * 5_000,
        "[V] x [Reshape] outputs: [a -> (" + "-1, " * 20_000 + "-1)], ",
        "[V] x [Relu] outputs: [a -> (" + "9" * 300_000 + ")], ",
        "\\_" * 200_000 + "\n[V] Parsing node: x [y]",
        "&gt;" * 200_000 + " -&gt; (\n[V] Parsing node: x [y]",
        "\0" * 300_000,
    ],
    ids=range(19),
)
def test_hostile_lines_take_linear_time(text):
    begun = time.process_time()
    try:
        for recording in read(text):
            _ = of_recording(recording).table
    except InputError:
        pass
    assert time.process_time() - begun < 20


ALL = b"".join(path.read_bytes() for path in sorted(LOGS.glob("*.log")))


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_damaged_log_is_a_table_or_a_clear_message(data):
    at = data.draw(st.integers(0, len(ALL)))
    text = bytearray(ALL[at : at + 4000])
    for _ in range(data.draw(st.integers(0, 12))):
        if text:
            place = data.draw(st.integers(0, len(text) - 1))
            text[place : place + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=6))
    try:
        for recording in read(bytes(text)):
            _ = of_recording(recording).table.summary
    except InputError:
        pass


# On the command line


@pytest.fixture
def cli() -> Callable[..., Result]:
    app = typer.Typer()
    app.command()(log_command)
    runner = CliRunner()
    return lambda *arguments, text=None: runner.invoke(app, [str(a) for a in arguments], text)


def test_command_prints_version_table_and_origins(cli):
    result = cli(ECA)
    assert result.exit_code == 0
    assert f"{ECA}: opset 9, 12 nodes" in result.output
    assert "target: TensorRT 7.1 (recorded)" in result.output
    assert "version: 7.1, because " in result.output
    assert "origins: 13" in result.output
    assert "13: the loss starts at 13" in result.output


def test_command_as_json(cli):
    result = cli(LOGS / "10.1-two-models.log", "--format", "json")
    document = json.loads(result.output)
    assert (document["command"], document["models"]) == ("log", 2)
    first, second = document["recordings"]
    assert first["target"]["kind"] == "log"
    assert first["version"] == "10.1.0"
    assert [port["name"] for port in first["inputs"]] == ["x", "c"]
    assert second["refusals"][0]["op"] == "Squeeze"
    assert second["model"] == {"number": 2, "opset": None, "nodes": 2}


def test_command_shows_one_model_and_reads_stdin(cli):
    text = (LOGS / "10.1-two-models.log").read_text()
    result = cli("-", "--model", "2", text=text)
    assert result.exit_code == 0
    assert "stdin, model 2 of 2" in result.output
    assert "node_of" not in result.output.partition("tensors")[0]
    assert "tz" not in result.output


def test_command_lists_only_what_is_lost(cli):
    result = cli(ECA, "--lost-only")
    assert "GlobalAveragePool" not in result.output
    assert "Expand" in result.output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((ECA, "--model", "2"), "there is no model 2"),
        (("none.log",), "no such file"),
        ((TESTS / "helpers" / "marks.py",), "no line of a TensorRT parser"),
    ],
)
def test_command_refuses_with_code_2(cli, arguments, text):
    result = cli(*arguments)
    assert result.exit_code == 2
    assert text in result.output


def test_hostile_names_do_not_steer_the_terminal(cli, tmp_path):
    path = tmp_path / "hostile.log"
    path.write_bytes(
        "Parsing node: \x9b31m \u202e [Relu]\n".encode()
        + "\x9b31m \u202e [Relu] outputs: [\u202e\x07 -> (1)], \n".encode()
    )
    result = cli(path)
    assert result.exit_code == 0
    assert "\\u202e\\x07" in result.output
    assert not {"\x9b", "\x07", "\u202e"} & set(result.output)
