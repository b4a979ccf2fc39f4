"""Meanings of messages of TensorRT whose words mislead or say too little."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Tried = Literal["fix", "frozen", "data-dependent"] | None


@dataclass(frozen=True, slots=True)
class Meaning:
    """A message of TensorRT, explained.

    Args:
        pattern: Regular expression that finds it.
        meaning: What it says in truth, one sentence without a full stop.
        hint: The next step.
        tries: What to try before the hint is given: whether ``"fix"`` gets further with the
            model, or whether it has ``"frozen"`` sizes or ``"data-dependent"`` ones to show.
        otherwise: The next step where it does not.
    """

    pattern: re.Pattern[str]
    meaning: str
    hint: str
    tries: Tried = None
    otherwise: str | None = None


INT8_CONVOLUTION = re.compile(r"cudnn_impl\.cpp:\d+: CHECK\(dtype == myelinTypeFloat")
"""Message of TensorRT-RTX 1.6.1 about a convolution in int8."""

_ASSERTION = re.compile(r"Assertion failed: .*?: (.+)", re.DOTALL)
_CORE = re.compile(
    r"Error Code \d+: (?P<kind>[\w ]+) \((?P<text>.*?)(?: In .* at \S+)?\)$", re.DOTALL
)


def plain(line: str) -> str:
    """A message of TensorRT without the names of its functions and source files."""
    if match := _ASSERTION.match(line):
        return match[1]
    if match := _CORE.search(line):
        return f"{match['kind']}: {match['text'].strip()}"
    return line


def _message(
    meaning: str, hint: str, *patterns: str, tries: Tried = None, otherwise: str | None = None
) -> Meaning:
    return Meaning(re.compile("|".join(patterns)), meaning, hint, tries, otherwise)


# The first that is found is given, so what explains others stands before them.
MEANINGS = (
    _message(
        "the branches of an If have different ranks, and which of them runs is only known at run "
        "time; TensorRT takes that only where the condition is a constant of the build",
        "give the dims that the condition reads one size, --dim NAME=SIZE, or write the squeeze "
        "with its dim so that both branches have one rank",
        r"Must have inputs with equal ranks when condition is not a build-time constant",
    ),
    _message(
        "at the smallest sizes of the profile nothing is left there: a window is longer than the "
        "data, or a slice is empty; in branches and loops tripoint does not look for the least",
        "raise the min of the range that the node depends on: --dim NAME=MIN..OPT..MAX",
        r"spatial dimension of convolution/deconvolution output cannot be negative",
        r"cannot do non-empty gather from an empty axis",
    ),
    _message(
        "TensorRT-RTX does not know in which branch of an If a layer lies, as where one If is "
        "inside another",
        "export the one case that is needed, for instance a single sample rate as a Python "
        "constant, so that no If is left",
        r"Assertion tScope\.getType\(\) != ScopeType::kUNDEFINED failed",
    ),
    _message(
        "a tensor that a Loop or Scan carries from round to round changes its shape on the way, "
        "and TensorRT's loops keep it",
        "give it its largest shape from the start and write into it, or let the loop give one "
        "slice each round, which TensorRT stacks",
        r"inputs to IRecurrenceLayer have different shapes",
    ),
    _message(
        "this TensorRT has no kernel for that layer, whatever its sizes",
        "leave the operator outside of the engine: let the model end in front of it",
        r"has no runners that implement it",
    ),
    _message(
        "an operator whose values decide its size (NonZero, NMS) is located in a branch or a loop, "
        "and TensorRT takes it in the main graph only",
        "move it out of the branch, or leave it outside of the engine",
        r"Data-dependent shapes are only allowed in the top-level scope",
    ),
    _message(
        "TensorRT asked for more memory than there is, mostly for the largest sizes of the profile",
        "free GPU memory, make the largest sizes smaller, or lower --pool workspace=MIB",
        r"Error Code 2: OutOfMemory",
        r"Skipping tactic \S+ due to insufficient memory",
        r"Requested amount of (GPU )?memory .* could not be allocated",
        r"out of memory",
    ),
    _message(
        "every kernel for some layer needs more scratch memory than the pool workspace allows",
        "raise or leave out --pool workspace=MIB",
        r"no tactics to implement the operation within workspace limit",
    ),
    _message(
        "mostly memory: no kernel for these nodes fit into the workspace or the GPU; else a fault "
        "of the compiler for that region. A region ForeignNode[A...B] holds all nodes from A to B",
        "raise --pool workspace=MIB and free GPU memory; if that does not help, build with another "
        "TensorRT version",
        r"Could not find any implementation for node",
    ),
    _message(
        "TensorRT-RTX has no convolution in int8, which a Conv downstream of DequantizeLinear is; "
        "it has int8 products (MatMul, Gemm)",
        "quantize products only, as with op_types_to_quantize=['MatMul', 'Gemm'] of ONNX Runtime's "
        "quantize_static, or build with TensorRT itself",
        INT8_CONVOLUTION.pattern,
    ),
    _message(
        "with this option TensorRT compiles for the GPU in the machine, and none can be used",
        "build on a machine with a GPU, or without --refit and --strip-weights",
        r"graph_jit\.cpp:\d+: CHECK\(status == CUDA_SUCCESS\) failed",
    ),
    _message(
        "a version-compatible plan carries a copy of the lean runtime, whose library is not "
        "installed here",
        "install the lean runtime of the same version, or leave --version-compatible out",
        r"Unable to load library: \S*nvinfer_lean",
    ),
    _message(
        "the profile, not the model, is at fault: at its opt sizes the graph does not fit together",
        "build with one size, --dim N=SIZE, that ONNX Runtime runs, then widen the range until it "
        "fails again: the end that was moved last is at fault",
        r"kOPT values for profile \d+ violate shape constraints",
        r"kM(IN|AX) values for profile \d+ violate shape constraints",
    ),
    _message(
        "dims of inputs have one name in the file, which TensorRT takes for one size, but the "
        "profile gives them different sizes; exporters write `?` or one name at dims that have "
        "nothing to do with each other",
        "give each its range with --input: `tripoint fix MODEL` and `tripoint build MODEL` then "
        "write a name of its own for each that the graph does not tie to another",
        r"Input dimensions with this name have different constant values",
    ),
    _message(
        "an input has dynamic dims, or its values decide sizes, and no profile says which",
        "give every dynamic dim a range with --dim or --input; `tripoint profile MODEL` proposes "
        "one",
        r"Network has dynamic or shape inputs, but no optimization profile has been defined",
        r"dynamic input is missing dimensions in profile \d+",
    ),
    _message(
        "the values of this input decide sizes, so the profile needs its values, not its shape",
        "`tripoint profile MODEL` names such inputs and asks for their values",
        r"optimization profile is missing values for shape input",
    ),
    _message(
        "a range has a min above its opt, or an opt above its max",
        "write --dim N=MIN..OPT..MAX with rising sizes",
        r"Specified optimization profiles must satisfy MIN<=OPT<=MAX",
    ),
    _message(
        "the input that was fed lies outside the profile that the engine was built with",
        "`tripoint inspect PLAN` shows the profile; build again with a wider range",
        r"Supplied binding dimension .* exceed min ~ max range",
    ),
    _message(
        "a size of the export's example is frozen in the graph and does not fit the size asked for",
        "`tripoint shapes MODEL` lists frozen sizes with their source lines; export them dynamic",
        r"reshape would change volume",
        r"reshape changes volume",
        r"Condition '==' violated: \d+ != \d+",
        r"reshape dimension of -1 has no solution",
        r"broadcast dimensions must be conformable",
        r"number of kernel weights does not match tensor dimensions",
        tries="frozen",
        otherwise="build with one size, --dim N=SIZE, that ONNX Runtime runs, then widen the range",
    ),
    _message(
        "a Pad of a shape tensor adds another number than 0, and the core of TensorRT works out no "
        "other; the message comes at the node that reads the sizes",
        "`tripoint fix MODEL -o FIXED.onnx` writes such a Pad as a Concat; then build FIXED.onnx",
        r"Only support constant zero padding for slicing a shape tensor",
        tries="fix",
        otherwise="put the sizes together with Concat in the model",
    ),
    _message(
        "the parser has no importer for this operator as it is written and looked for a plugin "
        "of that name; often a type or an opset is unsupported, not the operator",
        "a plugin library that has it is given with --plugin PATH; else write the node with other "
        "operators or types",
        r"No importer registered for op",
        r"Plugin not found, are the plugin name, version, and namespace correct",
        r"getPluginCreator could not find plugin",
    ),
    _message(
        "its Scatter layers write and do not sum: `scatter_add`, `index_add` and `scatter_reduce` "
        "have no layer there",
        "along one axis, write it as a product, `one_hot(index).T @ source`, which TensorRT has; "
        "else leave it outside the engine",
        r"Unsupported reduction type",
        r"ScatterND with reduction is not supported",
    ),
    _message(
        "the plan was written by another TensorRT version; a plan runs with the one that built it",
        "`tripoint inspect PLAN` shows what built it and the command that builds it again",
        r"The engine plan file is not compatible with this version of TensorRT",
        r"Version tag does not match",
    ),
    _message(
        "this is no plan of this product, or a transfer in text mode has changed its bytes",
        "compare its hash with the manifest: `tripoint inspect PLAN`",
        r"Magic tag does not match",
    ),
    _message(
        "a model in one file cannot exceed 2 GB",
        "save the weights as external data beside the model",
        r"exceeds maximum protobuf size of 2GB",
    ),
    _message(
        "tensor values decide a size (NonZero, NMS, masks) in a region that TensorRT compiles as "
        "one, and such regions take sizes from shapes only",
        "`tripoint shapes MODEL` marks data-dependent dims; replace what makes them by a fixed "
        "size and a mask, or cut it off the graph",
        r"requires foreign node optimizations incompatible with data-dependent shapes",
        tries="data-dependent",
        otherwise="cut what makes the size off the graph",
    ),
    _message(
        "the network is strongly typed: precision comes from the graph alone, and here its types "
        "do not fit together",
        "cast one of the inputs in the model, or convert the whole model to one precision",
        r"Input \d+'s element type \(\w+\) differs from input \d+'s element type \(\w+\)",
    ),
    _message(
        "the two branches of an If have different ranks, mostly from a squeeze without a dim",
        "`tripoint fix MODEL -o FIXED.onnx` keeps the live branch; then build FIXED.onnx",
        r"IIfConditionalOutputLayer inputs must have the same shape",
        tries="fix",
        otherwise="give both branches one rank in the model: write squeeze(dim) for squeeze(), or "
        "give the size that decides the branch one value with --dim",
    ),
    _message(
        "the sizes of a Resize are computed at run time, and this version takes constants only",
        "`tripoint fix MODEL -o FIXED.onnx` makes the sizes constant; then build FIXED.onnx",
        r"Resize scales must be an initializer!",
        tries="fix",
        otherwise="export with a fixed scale_factor or with fixed sizes",
    ),
    _message(
        "this TensorRT does not compute with that element type; float64 (11), for instance, "
        "comes from a NumPy constant",
        "cast it to a supported type in the model",
        r"Unsupported ONNX data type: \w+ \(\d+\)",
        r"Found unsupported datatype \(\d+\) when importing initializer",
    ),
    _message(
        "TopK takes at most 3840 elements and, in older versions, only a constant K",
        "make K constant and smaller, or sort outside the engine",
        r"TopK: K exceeds the maximum value allowed",
        r"only supports input K as an initializer",
    ),
    _message(
        "the kernel of a global pooling would depend on a size that is not known at build time",
        "export the model with fixed spatial sizes",
        r"Cannot run global average pool on an input with dynamic spatial dimensions!",
    ),
    _message(
        "a squeeze names no axes, or an unsqueeze adds several, where a dim is dynamic",
        "`tripoint fix MODEL -o FIXED.onnx` writes the axes; then build FIXED.onnx",
        r"Cannot infer squeeze dimensions from a dynamic shape!",
        r"Currently we don't support unsqueeze with more than one dynamic dims",
        tries="fix",
        otherwise="write squeeze(dim) for squeeze(), or unsqueeze in steps, in the model",
    ),
    _message(
        "a tensor that decides sizes runs through a layer, rank or type that size arithmetic does "
        "not take",
        "`tripoint fix MODEL -o FIXED.onnx` rewrites what makes the size; then build FIXED.onnx",
        r"applied to shape tensor must have 0 or 1 reshape dimensions",
        r"network input that is shape tensor must have type Int32",
        r"output shape can not be computed",
        tries="fix",
        otherwise="`tripoint why MODEL TENSOR` shows what made the size: make it constant in the "
        "model, or compute it with integers of rank 0 or 1",
    ),
    _message(
        "constants of the model do not fit into float16; masks such as -1e9 become the largest "
        "finite value",
        "keep these nodes in float32, or use bfloat16",
        r"Detected finite FP32 values which would overflow in FP16",
        r"weights are affected by this issue: Detected subnormal FP16 values",
    ),
    _message(
        "mostly harmless: sizes and sentinels are 64-bit in ONNX and fit into 32 bits; real "
        "indices above 2^31 would not",
        "compare the outputs: `tripoint verify MODEL --engine PLAN`",
        r"Your ONNX model has been generated with INT64 weights",
        r"One or more weights outside the range of INT32 was clamped",
    ),
    _message(
        "an internal check of TensorRT's compiler failed, which is a fault of TensorRT; mostly "
        "where an If decides a size at run time",
        "let the graph have one size there: export a model for each branch, or pad to one shape",
        r"MyelinCheckException",
    ),
    _message(
        "the parser had already failed, so the network is empty; the cause is an earlier message",
        "--debug shows all messages of TensorRT",
        r"Network must have at least one output",
    ),
    _message(
        "a follow-up of an earlier failure; the cause is the message before it",
        "--debug shows all messages of TensorRT",
        r"Assertion enginePtr != nullptr failed",
    ),
)


def of(texts: str | Iterable[str]) -> Meaning | None:
    """The meaning of the message that explains most.

    Args:
        texts: What TensorRT said, in any order.

    Returns:
        The first of :data:`MEANINGS` that is found in any of the texts.
    """
    text = texts if isinstance(texts, str) else "\n".join(texts)
    return next((meaning for meaning in MEANINGS if meaning.pattern.search(text)), None)
