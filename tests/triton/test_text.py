"""The model configuration as text."""

from __future__ import annotations

import importlib.util

import pytest
from google.protobuf import text_format

from tripoint.errors import MissingDependencyError
from tripoint.triton import schema, text
from tripoint.triton.schema import messages as published


def test_without_tritonclient_it_says_what_to_install(monkeypatch):
    schema.messages.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"tripoint\[triton\]"):
        text.parse("name: 'n'")
    schema.messages.cache_clear()


WRITTEN = """# a comment
name: "net"
platform: 'tensorrt' "_plan"
input [
  { name: "x" data_type: TYPE_FP32 dims: [ -1, 3 ] },
  {
    name: "y", dims: 1
    dims: 2
  }
]
output < name: "z"; reshape { shape: [] } >
parameters: { key: "k" value: { string_value: "v" } }
optimization { execution_accelerators { gpu_execution_accelerator [ { name: "tensorrt" } ] } }
model_warmup [ { name: "w" inputs [ { key: "x" value { zero_data: true } } ] } ]
"""


def test_reads_what_triton_reads_with_lines():
    parsed = text.parse(WRITTEN)
    theirs = text_format.Parse(WRITTEN, published().ModelConfig())
    for field in ("name", "platform"):
        assert getattr(parsed.config, field) == getattr(theirs, field)
    assert [list(each.dims) for each in parsed.config.input] == [[-1, 3], [1, 2]]
    assert parsed.config.output[0].HasField("reshape")
    assert parsed.config.parameters["k"].string_value == "v"
    assert parsed.unknown == ()
    assert parsed.line("platform") == 3
    assert parsed.line("input", 0, "dims") == 5
    assert parsed.line("input", 1) == 6
    assert parsed.line("input", 1, "dims", 1) == 8
    assert parsed.line("input", 1, "reshape") == 6
    assert parsed.line("output", 0, "reshape") == 11
    assert parsed.line("backend") is None


def test_unknown_fields_are_skipped_with_their_lines():
    parsed = text.parse(
        'inputs [ { name: "x" dims: [1, 2] } ]\nname: "n" future: [ {a: -1}, <b {c: "}"}> ]\n'
        'input { name: "x" dmis: [ 3 ] dims: [4] }\n'
    )
    assert [(each.name, each.line) for each in parsed.unknown] == [
        ("inputs", 1),
        ("future", 2),
        ("dmis", 3),
    ]
    assert parsed.config.name == "n"
    assert list(parsed.config.input[0].dims) == [4]


@pytest.mark.parametrize(
    ("content", "line", "message"),
    [
        ('name: "n"\nmax_batch_size 8', 2, 'Expected ":"'),
        ('input [\n { name: "x" }\n', 3, "Expected"),
        ("name: 3", 1, "Expected string"),
        ("max_batch_size: 99999999999", 1, "out of range"),
        ('name: "a"\nname: "b"', 2, "multiple"),
        ("dynamic_batching {}\nsequence_batching {}", 2, "another member of oneof"),
        ("input {\n  data_type: FP32 }", 2, "DataType has no value FP32"),
        ("\0", 1, "Expected identifier"),
        ("[ext.ension] { }", 1, "extensions"),
        ("future {" * 5000, None, "nested"),
        ("{", 1, "Expected identifier"),
    ],
)
def test_text_that_is_no_configuration(content, line, message):
    with pytest.raises(text.TextError, match=message) as raised:
        text.parse(content)
    assert raised.value.line == line
    with pytest.raises((text_format.ParseError, RecursionError)):
        text_format.Parse(content, published().ModelConfig())


HOSTILE = ['a"b', "a\nb", "a\\", "\x1b[31m", "\u202eevil", "日本", "} output {", "", "\0"]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_survive_and_the_text_is_ascii(name):
    config = schema.new_config()
    config.name = name
    config.output.add(name=name, dims=[-1])
    written = text.write(config)
    assert written.isascii()
    assert all(line.isprintable() for line in written.splitlines())
    theirs = text_format.Parse(written, published().ModelConfig())
    assert (theirs.name, theirs.output[0].name) == (name, name)
    assert text.parse(written).config == config
