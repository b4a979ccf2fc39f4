"""The model configuration as text: our part of the schema beside Triton's own."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from tripoint.triton import schema, text
from triton_repository import published


def messages(descriptor, found=None):
    """Every message and enum that is reachable, by full name."""
    found = {} if found is None else found
    if descriptor.full_name not in found:
        found[descriptor.full_name] = descriptor
        for field in getattr(descriptor, "fields", ()):
            for inner in (field.message_type, field.enum_type):
                if inner is not None:
                    messages(inner, found)
    return found


def facts(field):
    inner = field.message_type or field.enum_type
    oneof = field.containing_oneof.name if field.containing_oneof else None
    return field.number, field.type, field.is_repeated, inner and inner.full_name, oneof


def test_every_field_is_that_of_the_published_schema():
    theirs = messages(published().ModelConfig.DESCRIPTOR)
    ours = messages(schema.new_config().DESCRIPTOR)
    fields = 0
    for name, descriptor in ours.items():
        assert name in theirs
        if not hasattr(descriptor, "fields"):
            assert [(v.name, v.number) for v in descriptor.values] == [
                (v.name, v.number) for v in theirs[name].values
            ]
            continue
        for field in descriptor.fields:
            assert facts(field) == facts(theirs[name].fields_by_name[field.name]), field.full_name
            fields += 1
        if name not in schema.PARTIAL:
            assert {f.name for f in descriptor.fields} == {f.name for f in theirs[name].fields}
    assert fields > 70


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
