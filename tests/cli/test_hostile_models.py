"""Odd and hostile models: a table or a clear message for each, whatever the target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto
from onnx import helper as make
from typer.testing import CliRunner

from tests.helpers.marks import installed
from tripoint import api
from tripoint.cli import app
from tripoint.errors import InputError
from tripoint.table import TensorTable
from tripoint.views.importers import SUPPORTED

TARGETS = [*SUPPORTED, installed]
LONG = "n" * 10_000
LOCAL = make.make_opsetid("loc", 1)

Nodes = list[onnx.NodeProto]


def value(name: str, shape: list[int | str | None] | None, dtype: int = TensorProto.FLOAT):
    return make.make_tensor_value_info(name, dtype, shape)


def model(
    nodes: Nodes,
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    constants: tuple[onnx.TensorProto, ...] = (),
    opset: int = 17,
    imports: tuple[onnx.OperatorSetIdProto, ...] = (),
    functions: tuple[onnx.FunctionProto, ...] = (),
) -> onnx.ModelProto:
    graph = make.make_graph(nodes, "g", inputs, outputs, list(constants))
    made = make.make_model(
        graph, opset_imports=[make.make_opsetid("", opset), *imports], functions=list(functions)
    )
    made.ir_version = 11 if opset > 20 else 8
    return made


def simple(nodes: Nodes, shape: list[int | str | None] | None = None, **more) -> onnx.ModelProto:
    """From an input ``x`` to an output ``y``."""
    return model(nodes, [value("x", shape or ["N", 3])], [value("y", None)], **more)


def node(op: str, inputs: list[str], outputs: list[str], **attributes) -> onnx.NodeProto:
    return make.make_node(op, inputs, outputs, **attributes)


def function(name: str, nodes: Nodes) -> onnx.FunctionProto:
    return make.make_function("loc", name, ["p"], ["q"], nodes, [make.make_opsetid("", 17), LOCAL])


def long_names() -> onnx.ModelProto:
    return model(
        [node("Relu", [LONG], [LONG + "a"], name=LONG), node("Relu", [LONG + "a"], ["y"])],
        [value(LONG, [1, "S" * 10_000])],
        [value("y", None)],
    )


def opset_1() -> onnx.ModelProto:
    return simple(
        [
            node("Relu", ["x"], ["a"], consumed_inputs=[0]),
            node("Reshape", ["a"], ["b"], shape=[3, -1]),
            node("Add", ["b", "c"], ["y"], broadcast=1, axis=1),
        ],
        [1, 3],
        constants=(make.make_tensor("c", TensorProto.FLOAT, [1], [1.0]),),
        opset=1,
    )


def calls_function() -> onnx.ModelProto:
    body = [
        node("Shape", ["p"], ["s"]),
        node("Expand", ["p", "s"], ["e"]),
        node("Add", ["e", "p"], ["q"]),
    ]
    calls = [node("F", ["x"], ["a"], domain="loc"), node("F", ["a"], ["y"], domain="loc")]
    return simple(calls, imports=(LOCAL,), functions=(function("F", body),))


def captures_outer() -> onnx.ModelProto:
    branches = {
        "then_branch": make.make_graph(
            [node("Add", ["x", "x"], ["r"])], "t", [], [value("r", None)]
        ),
        "else_branch": make.make_graph(
            [node("Mul", ["x", "x"], ["r"])], "e", [], [value("r", None)]
        ),
    }
    return simple(
        [
            node("ReduceSum", ["x"], ["s"], keepdims=0),
            node("Cast", ["s"], ["c"], to=TensorProto.BOOL),
            node("If", ["c"], ["y"], **branches),
        ]
    )


def loops() -> onnx.ModelProto:
    body = make.make_graph(
        [
            node("Add", ["state", "x"], ["next"]),
            node("Identity", ["go"], ["on"]),
            node("Identity", ["next"], ["row"]),
        ],
        "b",
        [
            value("i", [], TensorProto.INT64),
            value("go", [], TensorProto.BOOL),
            value("state", None),
        ],
        [value("on", [], TensorProto.BOOL), value("next", None), value("row", None)],
    )
    return model(
        [node("Loop", ["n", "c", "x"], ["y", "z"], body=body)],
        [
            value("x", ["N", 3]),
            value("n", [], TensorProto.INT64),
            value("c", [], TensorProto.BOOL),
        ],
        [value("y", None), value("z", None)],
    )


def deeply_nested() -> onnx.ModelProto:
    inner = make.make_graph([node("Identity", ["x"], ["z0"])], "d", [], [value("z0", None)])
    for level in range(1, 15):
        other = make.make_graph(
            [node("Identity", ["x"], [f"w{level}"])], "e", [], [value(f"w{level}", None)]
        )
        choice = node("If", ["c"], [f"z{level}"], then_branch=inner, else_branch=other)
        inner = make.make_graph([choice], "d", [], [value(f"z{level}", None)])
    return model(
        [node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)],
        [value("x", ["N", 3]), value("c", [], TensorProto.BOOL)],
        [value("y", None)],
    )


def wrong_attributes() -> onnx.ModelProto:
    return simple(
        [
            node("Conv", ["x", "x"], ["a"], pads=[1], strides=[0, 0], kernel_shape=[1, 2, 3]),
            node("Transpose", ["a"], ["b"], perm=[9, 9]),
            node("Softmax", ["b"], ["y"], axis=77),
        ],
        [1, 3, 4, 4],
    )


def far_range() -> onnx.ModelProto:
    bounds = tuple(
        make.make_tensor(name, TensorProto.INT64, [], [size])
        for name, size in (("a", 0), ("b", 2**62), ("d", 1))
    )
    return model([node("Range", ["a", "b", "d"], ["y"])], [], [value("y", None, 7)], bounds)


def far_fill() -> onnx.ModelProto:
    size = make.make_tensor("a", TensorProto.INT64, [3], [2**40] * 3)
    return model([node("ConstantOfShape", ["a"], ["y"])], [], [value("y", None)], (size,))


def without_type() -> onnx.ModelProto:
    made = simple([node("Relu", ["x"], ["y"])])
    made.graph.input[0].type.CopyFrom(onnx.TypeProto())
    return made


READABLE: dict[str, Callable[[], onnx.ModelProto]] = {
    "nodes out of order": lambda: simple(
        [node("Relu", ["a"], ["y"]), node("Relu", ["x"], ["a"])], [1, 3]
    ),
    "two nodes of one name": lambda: simple(
        [node("Relu", ["x"], ["a"], name="n"), node("Neg", ["a"], ["y"], name="n")]
    ),
    "an output twice": lambda: model(
        [node("Relu", ["x"], ["y"])], [value("x", [1])], [value("y", [1]), value("y", [1])]
    ),
    "an input that is an output": lambda: model(
        [node("Relu", ["x"], ["y"])], [value("x", [1])], [value("x", [1]), value("y", [1])]
    ),
    "no nodes": lambda: model([], [value("x", ["N"])], [value("x", ["N"])]),
    "outputs without a name": lambda: simple(
        [node("Relu", ["x"], [""]), node("Dropout", ["x"], ["y", ""])]
    ),
    "names of 10 000 characters": long_names,
    "opset 1": opset_1,
    "the newest opset": lambda: simple(
        [node("Relu", ["x"], ["y"])], opset=onnx.defs.onnx_opset_version()
    ),
    "an opset of the future": lambda: simple([node("Relu", ["x"], ["y"])], opset=99),
    "a custom domain": lambda: simple(
        [
            node("Relu", ["x"], ["a"]),
            node("Magic", ["a"], ["b"], domain="my.ops"),
            node("Relu", ["b"], ["y"]),
        ],
        imports=(make.make_opsetid("my.ops", 1),),
    ),
    "a local function": calls_function,
    "branches that read outer tensors": captures_outer,
    "a loop that reads outer tensors": loops,
    "nested fifteen deep": deeply_nested,
    "odd symbols": lambda: simple(
        [node("Concat", ["x", "x"], ["y"], axis=0)],
        ["batch size", "a-b", '__import__("os").abort()', "1", "", "é", "N+", "floor(N)", "sqrt"],
    ),
    "control characters": lambda: simple(
        [
            node("Relu", ["x"], ["a\x1b[31m\n<b>"], name="\x1b]0;t\x07"),
            node("Neg", ["a\x1b[31m\n<b>"], ["y"]),
        ],
        ["N\x1b[2J", 3],
    ),
    "negative and zero dims": lambda: model(
        [node("Relu", ["x"], ["a"]), node("Concat", ["a", "z"], ["y"], axis=1)],
        [value("x", [-1, -7, 3]), value("z", [0, 0, 3])],
        [value("y", None)],
    ),
    "dims of 2 to the 62": lambda: simple(
        [node("Concat", ["x", "x"], ["a"], axis=0), node("Flatten", ["a"], ["y"])],
        [2**62, 2**62, 2**40],
    ),
    "a Range of 2 to the 62": far_range,
    "a fill of 2 to the 120": far_fill,
    "a scalar": lambda: simple(
        [node("Relu", ["x"], ["a"]), node("Shape", ["a"], ["s"]), node("Size", ["a"], ["y"])], []
    ),
    "an input without a rank": lambda: model(
        [node("Relu", ["x"], ["y"])], [value("x", None)], [value("y", None)]
    ),
    "an input without a type": without_type,
    "a sequence": lambda: simple(
        [
            node("SequenceConstruct", ["x", "x"], ["s"]),
            node("ConcatFromSequence", ["s"], ["y"], axis=0),
        ]
    ),
    "strings": lambda: model(
        [node("Identity", ["x"], ["y"])],
        [value("x", ["N"], TensorProto.STRING)],
        [value("y", ["N"], TensorProto.STRING)],
    ),
    "attributes out of range": wrong_attributes,
}


def cycle() -> onnx.ModelProto:
    return simple(
        [node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"]), node("Neg", ["b"], ["y"])]
    )


def doubling_functions() -> onnx.ModelProto:
    functions = [function("F0", [node("Relu", ["p"], ["q"])])]
    for level in range(1, 40):
        calls = [
            node(f"F{level - 1}", ["p"], ["t"], domain="loc"),
            node(f"F{level - 1}", ["t"], ["q"], domain="loc"),
        ]
        functions.append(function(f"F{level}", calls))
    return simple(
        [node("F39", ["x"], ["y"], domain="loc")], imports=(LOCAL,), functions=tuple(functions)
    )


def without_opset() -> onnx.ModelProto:
    made = simple([node("Relu", ["x"], ["y"])])
    del made.opset_import[:]
    return made


REFUSED: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "a cycle": (cycle, "cycle"),
    "a node that reads itself": (
        lambda: simple([node("Add", ["x", "y"], ["y"])]),
        "cycle",
    ),
    "a tensor made twice": (
        lambda: simple([node("Relu", ["x"], ["y"]), node("Neg", ["x"], ["y"])]),
        "'y' is redeclared",
    ),
    "two inputs of one name": (
        lambda: model(
            [node("Relu", ["x"], ["y"])], [value("x", [1]), value("x", [2])], [value("y", None)]
        ),
        "2 inputs of the graph are named 'x'",
    ),
    "an input that nothing makes": (
        lambda: simple([node("Add", ["x", "nowhere"], ["y"])]),
        "'nowhere', which nothing produces",
    ),
    "an output that nothing makes": (
        lambda: simple([node("Relu", ["x"], ["a"])]),
        "nothing produces the graph output 'y'",
    ),
    "no outputs": (lambda: model([], [], []), "no outputs"),
    "no opset": (without_opset, "imports no operator set"),
    "a function that calls itself": (
        lambda: simple(
            [node("F", ["x"], ["y"], domain="loc")],
            imports=(LOCAL,),
            functions=(function("F", [node("F", ["p"], ["q"], domain="loc")]),),
        ),
        "'F' calls itself",
    ),
    "functions that double": (doubling_functions, "expands to"),
}


def written(made: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", READABLE)
def test_odd_models_give_a_table(case: str, target: str, tmp_path: Path) -> None:
    made = READABLE[case]()
    table = api.shapes(written(made, tmp_path), target=target)
    assert isinstance(table, TensorTable)
    named = {name for entry in made.graph.node for name in entry.output if name}
    assert named <= table.by_name.keys()
    assert table.summary.tensors == len(table.by_name)


@pytest.mark.parametrize("case", REFUSED)
def test_impossible_models_give_a_message(case: str, tmp_path: Path) -> None:
    make_it, fact = REFUSED[case]
    with pytest.raises(InputError, match=fact):
        api.shapes(written(make_it(), tmp_path), target="7.1")


@pytest.mark.parametrize(
    "case", ["control characters", "odd symbols", "names of 10 000 characters"]
)
@pytest.mark.parametrize("output", ["text", "json"])
def test_hostile_names_do_not_reach_the_terminal(case: str, output: str, tmp_path: Path) -> None:
    path = written(READABLE[case](), tmp_path)
    result = CliRunner().invoke(app, ["shapes", str(path), "--target", "7.1", "--format", output])
    assert result.exit_code == 0
    assert "\x1b" not in result.output
    assert "\x07" not in result.output


@pytest.mark.parametrize("case", ["a cycle", "functions that double", "two inputs of one name"])
def test_impossible_models_leave_with_2_and_one_message(case: str, tmp_path: Path) -> None:
    path = written(REFUSED[case][0](), tmp_path)
    result = CliRunner().invoke(app, ["shapes", str(path), "--target", "7.1"])
    assert result.exit_code == 2
    assert str(path) in result.output
    assert "Traceback" not in result.output


def test_negative_dims_of_inputs_are_unknown_sizes(tmp_path: Path) -> None:
    path = written(READABLE["negative and zero dims"](), tmp_path)
    table = api.shapes(path, target="7.1")
    assert table.by_name["x"].shape == ("x_dim0", "x_dim1", 3)
    assert table.by_name["z"].shape == (0, 0, 3)
    assert not table.by_name["x"].lost
