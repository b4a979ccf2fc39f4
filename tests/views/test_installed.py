"""The real parser's view, and what becomes of it when the parser refuses or crashes."""

from __future__ import annotations

import textwrap

import onnx_ir as ir
import pytest

from tests.helpers.marks import RTX, needs_rtx
from tripoint.errors import MissingDependencyError, UsageError
from tripoint.model import Model
from tripoint.views import installed

HEADER = '<ir_version: 8, opset_import: ["": 17, "my.domain": 1]>\n'

CRASHING_TENSORRT = """
import enum, os, signal
__version__ = "10.0.0"
class ILogger:
    class Severity(enum.Enum):
        ERROR = 1; WARNING = 2; INFO = 3; VERBOSE = 4
class NetworkDefinitionCreationFlag(enum.IntEnum):
    EXPLICIT_BATCH = 0; STRONGLY_TYPED = 1
class Builder:
    def __init__(self, logger): pass
    def create_network(self, flags):
        assert flags == 3
class OnnxParser:
    def __init__(self, network, logger): self.say = logger.log
    def parse_from_file(self, path):
        verbose = ILogger.Severity.VERBOSE
        self.say(verbose, "Adding network input: x with dtype: float32, dimensions: (2, 3)")
        self.say(verbose, "Parsing node: first [Relu]")
        self.say(verbose, "Registering tensor: a for ONNX tensor: a")
        self.say(verbose, "first [Relu] outputs: [a -> (2, 3)[FLOAT]], ")
        self.say(verbose, "Parsing node: second [Neg]")
        os.kill(os.getpid(), signal.SIGSEGV)
"""


def model_of(body: str) -> Model:
    return Model(ir.from_onnx_text(HEADER + textwrap.dedent(body)))


@needs_rtx
@pytest.mark.parametrize(("size", "seen"), [("2", 2), ("N", -1)])
def test_shapes_roles_and_layers(size, seen):
    view = installed.view(
        model_of(f"""
        g (float[{size},3,4] x) => (float[{size},12] y, float[{size},3,4] z, int64[1] n)
        {{ size = Shape <start = 0, end = 1> (x)
           tail = Constant <value_ints = [12]> ()
           shape = Concat <axis = 0> (size, tail)
           y = Reshape (x, shape)
           z = Identity (x)
           n = Identity (size) }}
        """)
    )
    assert view.refusals == ()
    assert view.layers
    assert view.target.kind == "installed"
    assert view.target.version == f"{RTX} 1.6.1.120"
    assert view.shapes == {
        "x": (seen, 3, 4),
        "size": (1,),
        "tail": (1,),
        "shape": (2,),
        "y": (seen, 12),
        "z": (seen, 3, 4),
        "n": (1,),
    }
    assert view.roles["shape"] == "shape"
    assert view.roles["x"] == view.roles["y"] == "execution"


@needs_rtx
def test_name_of_the_main_graph_wins_over_that_of_a_function():
    view = installed.view(
        Model(
            ir.from_onnx_text(
                """<ir_version: 8, opset_import: ["": 17, "l": 1]>
                g (float[2,3] x) => (float[3,2] y)
                { q = Transpose <perm = [1, 0]> (x)
                  y = l.f (q) }
                <domain: "l", opset_import: ["": 17]>
                f (p) => (r)
                { t = Transpose <perm = [1, 0]> (p)
                  q = Relu (t)
                  r = Transpose <perm = [1, 0]> (q) }"""
            )
        )
    )
    assert view.shapes["q"] == (3, 2)
    assert view.shapes["y"] == (3, 2)


@needs_rtx
@pytest.mark.parametrize(
    ("body", "node", "op", "reason", "reached"),
    [
        (
            "g (float[2,3] x) => (int64[2,M] y) { a = Relu (x) [bad] y = NonZero (a) }",
            "bad",
            "NonZero",
            "does not support this operator here: NonZero plugin creator",
            {"x", "a"},
        ),
        (
            "g (float[2,3] x) => (float[2,3] y) { a = Relu (x) y = my.domain.Foo (a) }",
            "y",
            "Foo",
            "Op type Foo is not supported",
            {"x", "a"},
        ),
        (
            "g (float[N,3] x) => (float[M] y) { y = Squeeze (x) }",
            "y",
            "Squeeze",
            "with dynamic shapes: Cannot infer squeeze dimensions",
            {"x"},
        ),
        (
            "g (float[2,3] x) => (float[5,4] y) "
            "{ s = Constant <value_ints = [5, 4]> () y = Reshape (x, s) }",
            "y",
            "Reshape",
            "Shape Error: reshape changes volume. Reshaping [2,3] to [5,4].",
            {"x", "s"},
        ),
    ],
)
def test_refused_model_gives_a_partial_view_and_names_the_node(body, node, op, reason, reached):
    view = installed.view(model_of(body))
    (refusal,) = view.refusals
    assert (refusal.node, refusal.op) == (node, op)
    assert reason in refusal.reason
    assert refusal.reason.startswith(f"{RTX} 1.6.1.120 ")
    assert "CUDA driver" not in refusal.reason
    assert set(view.shapes) == reached
    assert view.layers is None
    assert view.roles == {}


def test_crash_becomes_a_finding(tmp_path, monkeypatch):
    (tmp_path / "tensorrt.py").write_text(CRASHING_TENSORRT)
    monkeypatch.syspath_prepend(tmp_path)
    view = installed.view(
        model_of("g (float[2,3] x) => (float[2,3] y) { [first] a = Relu (x) [second] y = Neg (a) }")
    )
    (refusal,) = view.refusals
    assert (refusal.node, refusal.op) == ("second", "Neg")
    assert refusal.reason == (
        "the TensorRT parser crashed (killed by signal 11, SIGSEGV) "
        "while parsing node 'second' (Neg)"
    )
    assert view.shapes == {"x": (2, 3), "a": (2, 3)}
    assert view.target.version == "tensorrt 10.0.0"


def test_no_tensorrt_says_what_to_install(monkeypatch):
    monkeypatch.setattr("sys.path", [])
    model = model_of("g (float[1] x) => (float[1] y) { y = Relu (x) }")
    with pytest.raises(MissingDependencyError, match="no TensorRT is installed") as raised:
        installed.view(model)
    assert raised.value.hint == "pip install 'tripoint[rtx]'"
    with pytest.raises(MissingDependencyError, match="tensorrt_rtx is not installed"):
        installed.view(model, tensorrt="tensorrt_rtx")
    with pytest.raises(UsageError, match="by the name 'trt'"):
        installed.view(model, tensorrt="trt")
