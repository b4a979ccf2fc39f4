"""Profiles in the words of other tools, read and written."""

from __future__ import annotations

import ast
import json
import shlex
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.errors import UsageError
from tripoint.profiles import profile
from tripoint.profiles.export_formats import spell
from tripoint.profiles.profile import InputProfile, Profile
from tripoint.spec import InputSpec, Range, Spec, dialects

BATCH = Range(1, 8, 32)


def shapes(found: list[InputSpec]) -> list[tuple[object, ...]]:
    return [(spec.name, spec.dims, spec.dtype) for spec in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x:1x3,y:1x8", [("x", (1, 3), None), ("y", (1, 8), None)]),
        ("x:[1,3] y:[1,8]", [("x", (1, 3), None), ("y", (1, 8), None)]),
        ("x:[1, H] y:[1, 8]", [("x", (1, "H"), None), ("y", (1, 8), None)]),
        ("a:[1,3];b:[1,10]", [("a", (1, 3), None), ("b", (1, 10), None)]),
        ("x:1,3,224,y:1,8", [("x", (1, 3, 224), None), ("y", (1, 8), None)]),
        ("'in:0':1x3,'b c':2x3", [("in:0", (1, 3), None), ("b c", (2, 3), None)]),
        ("it's:1x3", [("it's", (1, 3), None)]),
        ("in:0:1x3", [("in:0", (1, 3), None)]),
        ("a,b:1x3", [("a,b", (1, 3), None)]),
        ("my input:1x3", [("my input", (1, 3), None)]),
        ("x: 1 x 3", [("x", (1, 3), None)]),
        ("1,3,224", [(None, (1, 3, 224), None)]),
        ("s:scalar,x:1x3", [("s", (), None), ("x", (1, 3), None)]),
        ("[(1,3);(8,3);(32,3)]@f16%contiguous", [(None, (BATCH, 3), "float16")]),
        ("x:[(1,3);(8,3);(32,3)]", [("x", (BATCH, 3), None)]),
        ("(1,3)@i32", [(None, (1, 3), "int32")]),
        (
            "torch_tensorrt.Input(name='x', min_shape=(1, 3), opt_shape=[8, 3], "
            "max_shape=(32, 3), dtype=torch.half)",
            [("x", (BATCH, 3), "float16")],
        ),
        ("Input((1, 3))", [(None, (1, 3), None)]),
        ("tp.InputInfo(shape=((1, 8, 32), 3), dtype=tp.float32)", [(None, (BATCH, 3), "float32")]),
        (
            'TensorRTProfile().add("x", (1, 3), (8, 3), (32, 3)).add("y", min=(1,), opt=(1,), '
            "max=(1,))",
            [("x", (BATCH, 3), None), ("y", (1,), None)],
        ),
        (
            '{"x": {"min_shape": [1, 3], "opt_shape": [8, 3], "max_shape": [32, 3]}}',
            [("x", (BATCH, 3), None)],
        ),
    ],
)
def test_all_spellings_are_read(text: str, expected: list[tuple[object, ...]]) -> None:
    assert shapes(dialects.read(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("Input()", "Input(min_shape=(1, 3))", "Input(open('x'))", "eval('1')", "print(3)"),
        *('{"x": [1, 3]}', "{1, 2}", "{", "InputInfo(shape=((1, 2), 3))", "x:(1,3", "x("),
        *("[(1,3);(2,3);(3,3);(4,3)]", "(1,3)@q7", "Input(shape=(1.5, 2))"),
    ],
)
def test_what_cannot_be_read_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        dialects.read(text)


def test_nothing_is_executed() -> None:
    with pytest.raises(UsageError):
        dialects.read("__import__('os').system('exit 1')")


def test_values_are_told_from_dims() -> None:
    (found,) = dialects.read("s=[1,-1]..[2,0]..[3,4]")
    assert (found.name, found.dims, found.values) == ("s", (), ((1, -1), (2, 0), (3, 4)))
    (constant,) = dialects.read("s=[7]")
    assert constant.values == ((7,), (7,), (7,))
    with pytest.raises(
        UsageError, match=r"axis 1 of input .*: 3\.\.2\.\.4 is not min <= opt <= max"
    ):
        dialects.read("s=[1,3]..[1,2]..[1,4]")
    with pytest.raises(UsageError, match="1, 2 and 2 entries"):
        dialects.read("s=[1]..[1,2]..[1,4]")


# Several profiles


def bound(spec: Spec, **inputs: tuple[int | str, ...]) -> dict[str, Range]:
    return profile.bindings(inputs, spec)


def test_profiles_are_repeated() -> None:
    found = Spec.several(["x:Nx3xH"], ["H=8"], ["N=1", "N=1..8..32, H=16", "x:4x3x5"])
    assert [bound(spec, x=("N", 3, "H")) for spec in found[:2]] == [
        {"N": Range(1, 1, 1), "H": Range(8, 8, 8)},
        {"N": BATCH, "H": Range(16, 16, 16)},
    ]
    assert found[2].inputs == (InputSpec("x", (4, 3, 5)),)
    made = profile.several({"x": ("N", 3, "H")}, found[:2])
    assert [each.inputs[0].max for each in made] == [(1, 3, 8), (32, 3, 16)]


def test_trtexec_options_are_repeated_too() -> None:
    low, opt, high = ["x:1x3", "x:2x3"], ["x:8x3", "x:2x3"], ["x:32x3", "x:2x3"]
    first, second = Spec.several((), (), (), low, opt, high)
    assert bound(first, x=("N", 3)) == {"N": BATCH}
    assert bound(second, x=("N", 3)) == {"N": Range(2, 2, 2)}
    assert Spec.several((), (), ["1", "0"], low, opt, high) == (second, first)
    assert bound(Spec.several((), (), (), (), ["x:4x3"])[0], x=("N", 3)) == {"N": Range(4, 4, 4)}
    two = Spec.several((), (), (), ["x:1x3"], (), ["x:32x3"])
    assert bound(two[0], x=("N", 3)) == {"N": Range(1, 32, 32)}
    assert Spec.several() == (Spec(),)


@pytest.mark.parametrize(
    ("profiles", "low", "high", "message"),
    [
        ([], ["x:1x3", "x:1x3"], ["x:2x3"], "--minShapes 2 times, --maxShapes 1 times"),
        (["N=1"], ["x:1x3"], ["x:2x3"], "--profile does not go with --minShapes"),
        (["0", "N=1"], ["x:1x3"], ["x:2x3"], "as numbers and as texts"),
        (["0", "2"], ["x:1x3"] * 2, ["x:2x3"] * 2, "profile numbers 0, 2 with 2 sets"),
        (["0"], [], [], "profile numbers 0 with 0 sets"),
        ([], ["x:1x3,x:2x3"], ["x:2x3"], "--minShapes has 2 shapes for input 'x'"),
        ([], ["x:Nx3"], ["x:2x3"], "is not made of integers"),
        ([], ["x:1x3"], ["x:2x3x4"], "2, 3 and 3 entries"),
        ([], ["x:4x3"], ["x:2x3"], r"axis 0 of input 'x': 4\.\.2\.\.2"),
    ],
)
def test_options_that_do_not_go_together(
    profiles: list[str], low: list[str], high: list[str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        Spec.several((), (), profiles, low, (), high)


# Written and read again


names = st.text(
    st.characters(
        blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), blacklist_characters="',;[](){}="
    ),
    min_size=1,
).filter(lambda name: not name.isspace())
sizes = st.integers(1, 10**6)


@st.composite
def made(draw: st.DrawFn) -> Profile:
    rank = draw(st.integers(1, 4))
    found = []
    for name in draw(st.lists(names, min_size=1, max_size=3, unique=True)):
        axes = [sorted(draw(st.tuples(sizes, sizes, sizes))) for _ in range(rank)]
        ends = (tuple(axis[end] for axis in axes) for end in range(3))
        found.append(InputProfile(name, *ends))
    return Profile(tuple(found))


@given(made())
def test_a_shell_gives_every_name_back(wanted: Profile) -> None:
    inputs = {each.name: ("float", ("N",) * len(each.min)) for each in wanted.inputs}
    spelled = spell([wanted], inputs)
    options: dict[str, list[str]] = {}
    for word in shlex.split(spelled.trtexec):
        option, _, shapes_text = word.partition("=")
        options[option] = [shapes_text]
    (spec,) = Spec.several(
        (), (), (), options["--minShapes"], options["--optShapes"], options["--maxShapes"]
    )
    assert {each.name: each.values for each in spec.inputs} == {
        each.name: (each.min, each.opt, each.max) for each in wanted.inputs
    }
    words = shlex.split(spelled.polygraphy)
    assert words.count("--trt-max-shapes") == 1
    last = words[words.index("--trt-max-shapes") + 1 :]
    assert [tuple(word.rpartition(":")[::2]) for word in last] == [
        (each.name, f"[{','.join(map(str, each.max))}]") for each in wanted.inputs
    ]


def test_two_profiles_in_four_spellings() -> None:
    fixed = InputProfile("scale", (1,), (1,), (1,))
    both = [
        Profile((InputProfile("in:0", (1, 3), (1, 3), (1, 3)), fixed)),
        Profile((InputProfile("in:0", (2, 3), (4, 3), (8, 3)), fixed)),
    ]
    spelled = spell(both, {"in:0": ("float", ("N", 3)), "scale": ("float16", (1,))})
    assert shlex.split(spelled.trtexec) == [
        *("--profile=0", "--minShapes='in:0':1x3", "--optShapes='in:0':1x3"),
        *("--maxShapes='in:0':1x3", "--profile=1", "--minShapes='in:0':2x3"),
        *("--optShapes='in:0':4x3", "--maxShapes='in:0':8x3"),
    ]
    assert shlex.split(spelled.polygraphy)[:2] == ["--trt-min-shapes", "in:0:[1,3]"]
    assert spelled.onnxruntime["TensorrtExecutionProvider"]["trt_profile_max_shapes"] == (
        "in:0:1x3,in:0:8x3"
    )
    assert "nv_profile_min_shapes" in spelled.onnxruntime["NvTensorRTRTXExecutionProvider"]
    torch_tensorrt = SimpleNamespace(Input=lambda **given: given)
    torch = SimpleNamespace(float32="f32", float16="f16")
    found = eval(spelled.torch_tensorrt[1], {"torch_tensorrt": torch_tensorrt, "torch": torch})
    assert found == [
        {"min_shape": (2, 3), "opt_shape": (4, 3), "max_shape": (8, 3), "dtype": "f32"},
        {"shape": (1,), "dtype": "f16"},
    ]
    assert ast.parse(spelled.torch_tensorrt[0])


def test_what_a_spelling_cannot_say_is_noted() -> None:
    odd = Profile((InputProfile("a,b's", (1,), (1,), (2,)),))
    notes = spell([odd], {"a,b's": ("float", ("N",))}).notes
    assert any("ONNX Runtime cannot take" in note for note in notes)
    assert any("trtexec cannot take" in note for note in notes)


def test_shape_tensors_are_written_by_value() -> None:
    size = InputProfile("size", (8, 8), (9, 9), (16, 16), values=True)
    spelled = spell([Profile((size,))], {"size": ("int64", (2,))})
    assert spelled.trtexec.startswith("--minShapes=size:8x8 ")
    assert "is_shape_tensor=True" in spelled.torch_tensorrt[0]
    assert json.dumps(dict(spelled.onnxruntime["TensorrtExecutionProvider"]))
