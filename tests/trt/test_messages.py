"""What TensorRT's messages mean: each literal text that users search for finds its meaning."""

from __future__ import annotations

import re

import pytest

from tripoint.cli import app
from tripoint.trt import messages

MESSAGES = [
    ("reshape would change volume 24576 to 4096", "frozen in the graph"),
    ("Condition '==' violated: 5376 != 4725", "frozen in the graph"),
    ("reshape dimension of -1 has no solution", "frozen in the graph"),
    ("broadcast dimensions must be conformable", "frozen in the graph"),
    ("number of kernel weights does not match tensor dimensions", "frozen in the graph"),
    (
        "Network has dynamic or shape inputs, but no optimization profile has been defined",
        "no profile says which",
    ),
    ("kOPT values for profile 0 violate shape constraints", "the profile, not the model"),
    (
        "?: Input dimensions with this name have different constant values or have contradictory "
        "IOptimizationProfile kMIN/kMAX constraints.",
        "one name in the file",
    ),
    ("dynamic input is missing dimensions in profile 0", "no profile says which"),
    ("optimization profile is missing values for shape input", "needs its values"),
    ("Specified optimization profiles must satisfy MIN<=OPT<=MAX", "min above its opt"),
    (
        "Supplied binding dimension [1,3,9] for bindings[0] exceed min ~ max range at index 2",
        "outside the profile",
    ),
    ("No importer registered for op: X. Attempting to import as plugin.", "no importer"),
    (
        "Plugin not found, are the plugin name, version, and namespace correct?",
        "looked for a plugin",
    ),
    ("getPluginCreator could not find plugin", "looked for a plugin"),
    (
        "Error Code 10: Internal Error (Could not find any implementation for node "
        "{ForeignNode[A...B]}.)",
        "mostly memory",
    ),
    (
        "MyelinCheckException: cudnn_impl.cpp:89: CHECK(dtype == myelinTypeFloat || dtype == "
        "myelinTypeHalf || dtype == myelinTypeBF16 || dtype == myelinTypeFP8E4M3) failed.",
        "no convolution in int8",
    ),
    ("Could not find any implementation for node conv + QuantizeLinear", "mostly memory"),
    (
        "The engine plan file is not compatible with this version of TensorRT, expecting library "
        "version 10.0 got 8.6, please rebuild",
        "another TensorRT version",
    ),
    ("Version tag does not match", "another TensorRT version"),
    ("Magic tag does not match", "text mode"),
    ("exceeds maximum protobuf size of 2GB", "2 GB"),
    (
        "requires foreign node optimizations incompatible with data-dependent shapes, so treating "
        "as error",
        "tensor values decide a size",
    ),
    (
        "Detected finite FP32 values which would overflow in FP16 and converted them to the "
        "closest finite FP16 value",
        "do not fit into float16",
    ),
    ("weights are affected by this issue: Detected subnormal FP16 values", "float16"),
    (
        "Input 0's element type (half) differs from input 1's element type (float)",
        "strongly typed",
    ),
    ("Skipping tactic 3 due to insufficient memory on requested size of N", "more memory"),
    ("Error Code 2: OutOfMemory", "more memory"),
    (
        "IIfConditionalOutputLayer inputs must have the same shape. Shapes are [2] and [1].",
        "branches of an If",
    ),
    ("Resize scales must be an initializer!", "sizes of a Resize"),
    ("Unsupported ONNX data type: UINT8 (2)", "element type"),
    ("Found unsupported datatype (11) when importing initializer", "element type"),
    (
        "Your ONNX model has been generated with INT64 weights, while TensorRT does not natively "
        "support INT64",
        "mostly harmless",
    ),
    ("One or more weights outside the range of INT32 was clamped", "mostly harmless"),
    (
        "Cannot run global average pool on an input with dynamic spatial dimensions!",
        "global pooling",
    ),
    ("TopK: K exceeds the maximum value allowed (3840)", "TopK"),
    ("only supports input K as an initializer", "TopK"),
    (
        "Cannot infer squeeze dimensions from a dynamic shape! Please re-export your model with "
        "the Squeeze axes input set.",
        "names no axes",
    ),
    (
        "Currently we don't support unsqueeze with more than one dynamic dims",
        "adds several",
    ),
    (
        "IShuffleLayer applied to shape tensor must have 0 or 1 reshape dimensions: dimensions "
        "were [1,4]",
        "size arithmetic",
    ),
    ("network input that is shape tensor must have type Int32", "size arithmetic"),
    ("output shape can not be computed", "size arithmetic"),
    ("Network must have at least one output", "already failed"),
    ("Internal Error (Assertion enginePtr != nullptr failed.)", "message before it"),
    # Seen with TensorRT-RTX 1.6.1
    (
        "ITensor::getDimensions: Error Code 4: API Usage Error (node_of_t: Only support constant "
        "zero padding for slicing a shape tensor (start=[-1] size=[3] stride=[1]).",
        "Pad of a shape tensor",
    ),
    (
        "Tactic Selection: no tactics to implement the operation within workspace limit. Consider "
        "increase the allowed workspace size if applicable.",
        "pool workspace",
    ),
    (
        "MyelinCheckException: graph_jit.cpp:272: CHECK(status == CUDA_SUCCESS) failed.",
        "compiles for the GPU",
    ),
    ("Unable to load library: libnvinfer_lean.so.1: cannot open", "lean runtime"),
    (
        "IConvolutionLayer c: c: spatial dimension of convolution/deconvolution output cannot be "
        "negative (build-time output dimension of axis 2 is (+ N -479))",
        "a window is longer",
    ),
    ("IGatherLayer s: s: cannot do non-empty gather from an empty axis", "a slice is empty"),
    (
        "Internal Error: Assertion tScope.getType() != ScopeType::kUNDEFINED failed.",
        "in which branch of an If",
    ),
    (
        "Must have inputs with equal ranks when condition is not a build-time constant. "
        "Dimensions are [R] and [R,K].",
        "different ranks",
    ),
    (
        "kOPT values for profile 0 violate shape constraints: (Unnamed Layer* 10) [Recurrence]: "
        "inputs to IRecurrenceLayer have different shapes.",
        "changes its shape on the way",
    ),
    ("Assertion !layerImpls.empty() failed. n_0 has no runners that implement it", "no kernel"),
    (
        "Assertion !scope.getOp() failed. Data-dependent shapes are only allowed in the top-level "
        "scope",
        "in the main graph only",
    ),
    (
        "MyelinCheckException: utils.cpp:949: CHECK(prod->owner()->is_shape_graph()) failed.",
        "a fault of TensorRT",
    ),
    ("Unsupported reduction type", "do not sum"),
    ("Assertion failed: mode == none: ScatterND with reduction is not supported.", "do not sum"),
    ("IShuffleLayer n: reshape changes volume. Reshaping [2,3] to [5,4].", "frozen in the graph"),
]


@pytest.mark.parametrize(("text", "meaning"), MESSAGES, ids=[text[:40] for text, _ in MESSAGES])
def test_message_is_explained(text, meaning):
    found = messages.of(f"[E] [TRT] {text}\n")
    assert found is not None
    assert meaning in found.meaning


def test_every_meaning_is_tested():
    tested = {messages.of(text) for text, _ in MESSAGES}
    assert tested == set(messages.MEANINGS)


def test_every_pattern_is_tested():
    for known in messages.MEANINGS:
        for pattern in known.pattern.pattern.split("|"):
            if pattern in _ONLY_WORDS_OF_OTHERS:
                continue
            assert any(re.search(pattern, text) for text, _ in MESSAGES), pattern


_ONLY_WORDS_OF_OTHERS = (
    r"out of memory",
    r"Requested amount of (GPU )?memory .* could not be allocated",
    r"kM(IN",  # halves of one pattern that has an alternative inside
    r"AX) values for profile \d+ violate shape constraints",
)


@pytest.mark.parametrize("text", ["", "something new", "Parsing node: out_of [Conv]"])
def test_unknown_message_is_not_explained(text):
    assert messages.of(text) is None


def test_cause_is_preferred_to_its_consequence():
    said = [
        "Internal Error (Assertion enginePtr != nullptr failed.)",
        "Could not find any implementation for node {ForeignNode[A...B]}.",
        "Skipping tactic 3 due to insufficient memory on requested size of 4294967296",
    ]
    assert "more memory" in messages.of(said).meaning
    assert "mostly memory" in messages.of(said[:2]).meaning


def test_next_steps_name_commands_and_options_that_exist():
    import typer.main

    group, context = typer.main.get_group(app), None
    commands = {name: group.get_command(context, name) for name in group.list_commands(context)}
    build_options = {option for p in commands["build"].params for option in p.opts}
    build_options |= {option for p in commands["build"].params for option in p.secondary_opts}
    for known in messages.MEANINGS:
        for name in re.findall(r"`tripoint (\w+)", known.hint):
            assert name in {*commands, "profile"}, known.hint  # profile: part of this release
        for option in re.findall(r"(?<!`)(--[\w-]+)(?![^`]*`)", known.hint):
            assert option in build_options, known.hint


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        (
            "IBuilder::buildSerializedNetwork: Error Code 6: API Usage Error (Unable to load "
            "library: a.so In Impl at /_src/libLoader.cpp:305)",
            "API Usage Error: Unable to load library: a.so",
        ),
        ("Assertion failed: ctx->x(): the fact", "the fact"),
        ("some other line", "some other line"),
    ],
)
def test_messages_lose_what_only_their_authors_read(line, plain):
    assert messages.plain(line) == plain
