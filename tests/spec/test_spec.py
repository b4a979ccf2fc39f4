from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tripoint.errors import UsageError
from tripoint.spec import DTYPES, FORMS, InputSpec, Range, Spec, parse_dim, parse_input

ANY_BATCH = Range(1, 8, 32)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x:1x3x224x224", InputSpec("x", (1, 3, 224, 224))),
        ("x:[1,3,224,224]", InputSpec("x", (1, 3, 224, 224))),
        ("x:[1, 3, 224]", InputSpec("x", (1, 3, 224))),
        ("x:1,3,224,224", InputSpec("x", (1, 3, 224, 224))),
        ("x: 1 x 3", InputSpec("x", (1, 3))),
        ("x:1..8..32x3x224x224", InputSpec("x", (ANY_BATCH, 3, 224, 224))),
        ("x:[1..8..32,3]", InputSpec("x", (ANY_BATCH, 3))),
        ("x:1..32x3", InputSpec("x", (Range(1, 32, 32), 3))),
        ("x:Nx3x224x224", InputSpec("x", ("N", 3, 224, 224))),
        ("x:batch_size,max,3", InputSpec("x", ("batch_size", "max", 3))),
        ("ids:1x16@int64", InputSpec("ids", (1, 16), "int64")),
        ("x:[1..8..32,3]@float16", InputSpec("x", (ANY_BATCH, 3), "float16")),
        ("x:[]@bool", InputSpec("x", (), "bool")),
        ("x:7", InputSpec("x", (7,))),
        ("1x3x224x224", InputSpec(None, (1, 3, 224, 224))),
        ("[1,3]@int32", InputSpec(None, (1, 3), "int32")),
        ("block/x:0:1x3", InputSpec("block/x:0", (1, 3))),
        ("a@b:c:1x3@int8", InputSpec("a@b:c", (1, 3), "int8")),
    ],
)
def test_spellings(text: str, expected: InputSpec) -> None:
    assert parse_input(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "x:", "x:1x", "x:1xx3", "x:-1x3", "x:1.5x3", "x:?x3", "x:2*N", "x:1x3:"),
        *("x:[1,3", "x:1,3]", "x:[1x3]", "x:[1,,3]", "x:1..2..", "x:..3", "x:maxx3", ":1x3"),
    ],
)
def test_malformed_input_shows_the_forms(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_input(text)
    assert repr(text) in str(caught.value)
    assert FORMS in str(caught.value)


@pytest.mark.parametrize("dtype", ["", "foo", "INT64", "float"])
def test_unknown_dtype_lists_the_known(dtype: str) -> None:
    with pytest.raises(UsageError, match="unknown dtype") as caught:
        parse_input(f"x:1x3@{dtype}")
    assert all(known in str(caught.value) for known in DTYPES)


@pytest.mark.parametrize("bounds", ["3..1", "1..5..3", "4..2..8"])
def test_impossible_range(bounds: str) -> None:
    for parse in (lambda: parse_input(f"x:{bounds}x3"), lambda: parse_dim(f"N={bounds}")):
        with pytest.raises(UsageError, match="0 <= min <= opt <= max"):
            parse()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("N=8", ("N", Range(8, 8, 8))),
        ("N=1..32", ("N", Range(1, 32, 32))),
        ("batch_size = 1..8..32", ("batch_size", ANY_BATCH)),
    ],
)
def test_dims(text: str, expected: tuple[str, Range]) -> None:
    assert parse_dim(text) == expected


@pytest.mark.parametrize("text", ["N", "N=", "=8", "N=a", "2N=3", "N=8=9", "N=-1", "N:8", ""])
def test_malformed_dim_shows_the_forms(text: str) -> None:
    with pytest.raises(UsageError, match=r"N=8 or N=1\.\.8\.\.32") as caught:
        parse_dim(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "dims", "message"),
    [
        (["x:1x3", "y:1", "x:2x3"], [], "input x is given twice"),
        (["1x3", "1x4"], [], "input without a name is given twice"),
        ([], ["N=1", "M=1", "N=2"], "dimension N is given twice"),
    ],
)
def test_given_twice(inputs: list[str], dims: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Spec.parse(inputs, dims)


def test_names_are_attached_to_the_inputs_of_the_model() -> None:
    unnamed = Spec.parse(["1x3"])
    assert unnamed.resolve_names(["a"]) == {"a": InputSpec(None, (1, 3))}
    with pytest.raises(UsageError, match=r"2 inputs[\s\S]*a, b"):
        unnamed.resolve_names(["a", "b"])
    named = Spec.parse(["b:1x3"])
    assert named.resolve_names(["a", "b"]) == {"b": InputSpec("b", (1, 3))}
    with pytest.raises(UsageError, match=r"no input named 'b'[\s\S]*a, c"):
        named.resolve_names(["a", "c"])
    assert Spec().resolve_names(["a"]) == {}


ranges = (
    st.lists(st.integers(1, 10**6), min_size=3, max_size=3).map(sorted).map(lambda b: Range(*b))
)
symbols = st.from_regex(r"[A-Za-z_][A-Za-z_0-9]*", fullmatch=True)
specs = st.builds(
    InputSpec,
    st.none() | st.text(min_size=1),
    st.lists(st.integers(0, 10**6) | symbols | ranges, min_size=1).map(tuple),
    st.none() | st.sampled_from(DTYPES),
)


@given(specs, st.sampled_from(["x", ",", "[,]", "[, ]"]))
def test_what_is_written_is_read(spec: InputSpec, form: str) -> None:
    if form == "x" and any(isinstance(dim, str) and "x" in dim for dim in spec.dims):
        form = ","
    if form == "," and len(spec.dims) == 1:
        form = "[,]"
    shape = form.strip("[]").join(map(str, spec.dims))
    text = f"[{shape}]" if form.startswith("[") else shape
    name = "" if spec.name is None else f"{spec.name}:"
    dtype = "" if spec.dtype is None else f"@{spec.dtype}"
    assert parse_input(name + text + dtype) == spec


@given(st.dictionaries(symbols, ranges))
def test_dims_that_are_written_are_read(dims: dict[str, Range]) -> None:
    assert Spec.parse((), [f"{name}={bounds}" for name, bounds in dims.items()]).dims == dims
