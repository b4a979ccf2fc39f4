"""Options that several commands share, each declared once, and groups of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tripoint import files
from tripoint.errors import InputError, UsageError

if TYPE_CHECKING:
    from tripoint.spec import Spec


class Format(str, Enum):
    """Output formats."""

    text = "text"
    json = "json"


class PrecisionName(str, Enum):
    """Precisions of an engine."""

    fp32 = "fp32"
    tf32 = "tf32"
    fp16 = "fp16"
    bf16 = "bf16"


class IoPrecisionName(str, Enum):
    """Types of inputs and outputs when the precision is lowered: kept, or lowered too."""

    keep = "keep"
    match = "match"


class ExporterName(str, Enum):
    """PyTorch's two ONNX exporters."""

    dynamo = "dynamo"
    torchscript = "torchscript"


ModelArgument = Annotated[
    str, typer.Argument(metavar="MODEL", help="model.onnx, file.py:name or pkg.module:name")
]
Target = Annotated[
    str | None,
    typer.Option(
        help="whose view: 'installed', a version such as 7.1, or a verbose log; the installed "
        "TensorRT where there is one, else the newest version that is modelled",
        show_default=False,
    ),
]
TensorRT = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="tensorrt, tensorrt_rtx or tensorrt_rtx_bindings; the first that is installed",
        show_default=False,
    ),
]
MinShapes = Annotated[
    list[str] | None,
    typer.Option(
        "--minShapes",
        "--min-shapes",
        "--trt-min-shapes",
        metavar="x:1x3,y:1x8",
        help="as trtexec; with --optShapes and --maxShapes in place of --input",
        show_default=False,
    ),
]
OptShapes = Annotated[
    list[str] | None,
    typer.Option(
        "--optShapes",
        "--opt-shapes",
        "--trt-opt-shapes",
        metavar="x:8x3,y:8x8",
        help="see --minShapes",
        show_default=False,
    ),
]
MaxShapes = Annotated[
    list[str] | None,
    typer.Option(
        "--maxShapes",
        "--max-shapes",
        "--trt-max-shapes",
        metavar="x:32x3,y:32x8",
        help="see --minShapes",
        show_default=False,
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="exit 3 where something stays unproven")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress lines")]
Debug = Annotated[bool, typer.Option("--debug", help="show tracebacks and native logs")]
InputNames = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,C",
        help="what the ONNX file calls the inputs of forward, in order",
        show_default=False,
    ),
]
Timeout = Annotated[
    float | None, typer.Option(metavar="SECONDS", min=0.001, help="stop TensorRT after this")
]
IoPrecision = Annotated[
    IoPrecisionName,
    typer.Option(
        help="with fp16 and bf16: keep the types of inputs and outputs, or let those of float32 "
        "match the precision"
    ),
]
OutputNames = Annotated[
    str | None,
    typer.Option(
        metavar="A,B,C", help="names for what the module returns, in order", show_default=False
    ),
]
Values = Annotated[
    list[str] | None,
    typer.Option(
        "--values",
        metavar="x:0..255",
        help="smallest and largest value of a generated input",
        show_default=False,
    ),
]
Exporter = Annotated[ExporterName, typer.Option(help="which of PyTorch's exporters")]
Tf32 = Annotated[
    bool,
    typer.Option(
        "--tf32/--no-tf32",
        help="let TensorRT round float32 products to TF32, its default; without it a "
        "TensorRT-RTX engine needs NVIDIA_TF32_OVERRIDE=0 where it runs",
    ),
]
Precision = Annotated[
    PrecisionName | None,
    typer.Option(
        help="what the engine computes in: fp32 is exact and the same as --no-tf32, tf32 rounds "
        "float32 products; fp16 and bf16 convert the model first. The model as it is, with TF32, "
        "unless given",
        show_default=False,
    ),
]
KeepFp32 = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NODE",
        help="with fp16 and bf16: a node, or a pattern such as '*/head/*', that stays in float32; "
        "once for each; @FILE takes one from each line of a file",
        show_default=False,
    ),
]
Tolerance = Annotated[
    list[str] | None,
    typer.Option(metavar="1e-5|OUTPUT:1e-5", help="in place of the derived one"),
]


class Group:
    """Options that several commands have in a row.

    A command takes them as one argument; :func:`tripoint.cli.console.reported` puts the fields in
    its place, in their order.
    """

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


class Shapes(Group):
    """Shapes of the inputs."""

    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--input",
            "--shapes",
            "--input-shapes",
            metavar="SPEC",
            help="x:1x3x224x224, x:[1,3,224,224] or x:1..8..32x3x224x224 (min..opt..max); "
            "x:1x16@int64 with a dtype; s=[1,3]..[2,3]..[4,3] for values; once for each input",
            show_default=False,
        ),
    ] = None
    dims: Annotated[
        list[str] | None,
        typer.Option("--dim", metavar="N=1..8..32", help="range of a symbol", show_default=False),
    ] = None

    def spec(self) -> Spec:
        """Return the shapes, as one profile.

        Raises:
            UsageError: If a text cannot be read.
        """
        from tripoint.spec import Spec

        return Spec.parse(self.inputs or (), self.dims or ())


class Ranges(Shapes):
    """Shapes of the inputs, or smallest, usual and largest ones as trtexec takes them."""

    min_shapes: MinShapes = None
    opt_shapes: OptShapes = None
    max_shapes: MaxShapes = None

    def spec(self) -> Spec:
        """Return the shapes, as one profile.

        Raises:
            UsageError: As :meth:`specs`, or if they are several profiles.
        """
        specs = self.specs()
        if len(specs) > 1:
            raise UsageError(
                f"{len(specs)} profiles are given, and this command takes one",
                hint="give --minShapes, --optShapes and --maxShapes once",
            )
        return specs[0]

    def specs(self, profiles: Sequence[str] = ()) -> tuple[Spec, ...]:
        """Return the shapes of each profile; see :meth:`tripoint.spec.Spec.several`.

        Raises:
            UsageError: If a text cannot be read, or the options do not go together.
        """
        from tripoint.spec import Spec

        shapes = (self.min_shapes or (), self.opt_shapes or (), self.max_shapes or ())
        return Spec.several(self.inputs or (), self.dims or (), profiles, *shapes)


class Profiles(Shapes):
    """Shapes of the inputs in each of several profiles."""

    profiles: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            metavar="'N=1..8..32 x:Nx3'",
            help="one profile of several; or trtexec's number of one, with --minShapes",
            show_default=False,
        ),
    ] = None
    min_shapes: MinShapes = None
    opt_shapes: OptShapes = None
    max_shapes: MaxShapes = None

    def specs(self) -> tuple[Spec, ...]:
        """Return the shapes of each profile, as :meth:`Ranges.specs`."""
        return Ranges(**vars(self)).specs(self.profiles or ())


class Feed(Group):
    """Values of the inputs."""

    inputs_file: Annotated[
        str | None,
        typer.Option(
            "--inputs",
            metavar="FILE",
            help="inputs to use in place of generated ones: inputs.npz, inputs.json as "
            "Polygraphy saves them, a folder of them, or file.py:function",
            show_default=False,
        ),
    ] = None
    values: Values = None

    def arguments(self) -> dict[str, Any]:
        """Return what these options say, as arguments of :func:`tripoint.verify`.

        Raises:
            UsageError: If a range cannot be read.
        """
        return {"inputs": self.inputs_file, "values": value_ranges(self.values)}


class Export(Group):
    """Options of the export of a PyTorch model."""

    exporter: Exporter = ExporterName.dynamo
    opset: Annotated[int | None, typer.Option(help="opset to export", show_default=False)] = None

    def arguments(self) -> dict[str, Any]:
        """Return what these options say, as arguments of :func:`tripoint.export`."""
        return {"exporter": self.exporter.value, "opset": self.opset}


class Lowering(Group):
    """Targets and precision of an engine."""

    compute_capability: Annotated[
        list[str] | None,
        typer.Option(metavar="8.6", help="GPU to build for; TensorRT's choice", show_default=False),
    ] = None
    tf32: Tf32 = True
    precision: Precision = None
    keep_fp32: KeepFp32 = None

    def arguments(self) -> dict[str, Any]:
        """Return what these options say, as arguments of :func:`tripoint.build`.

        Raises:
            UsageError: If they do not go together.
        """
        if self.precision is PrecisionName.tf32 and not self.tf32:
            raise excluded("--precision tf32", "--no-tf32")
        if not self.is_low and self.keep_fp32:
            raise excluded("--keep-fp32", "a precision that leaves the graph as it is")
        return {
            "compute_capabilities": self.compute_capability or (),
            "precision": self.precision.value if self.precision else None,
            "keep_fp32": [name for text in self.keep_fp32 or () for name in _listed(text)],
            "tf32": self.tf32,
        }

    @property
    def is_low(self) -> bool:
        """Return whether the model is converted first."""
        return self.precision in (PrecisionName.fp16, PrecisionName.bf16)


class Comparison(Group):
    """Options of matching and comparing outputs."""

    input_names: InputNames = None
    output_names: OutputNames = None
    atol: Tolerance = None
    rtol: Tolerance = None
    seed: Annotated[int, typer.Option(help="seed of the generated inputs")] = 0

    def arguments(self) -> dict[str, Any]:
        """Return what these options say, as arguments of :func:`tripoint.verify`.

        Raises:
            UsageError: If a tolerance cannot be read.
        """
        return {
            "input_names": names(self.input_names),
            "output_names": names(self.output_names),
            "atol": by_output(self.atol, "--atol"),
            "rtol": by_output(self.rtol, "--rtol"),
            "seed": self.seed,
        }


class Form(Group):
    """Destination and form of the result."""

    output_format: Annotated[Format, typer.Option("--format", help="output format")] = Format.text
    output_file: Annotated[
        Path | None, typer.Option(help="write the result here, not to stdout", show_default=False)
    ] = None
    force: Annotated[bool, typer.Option("--force", help="replace existing files")] = False

    def refuse_overwrite(self) -> None:
        """Refuse a file that exists, before what takes long.

        Raises:
            OutputError: If there is one and it may not be replaced.
        """
        if self.output_file is not None:
            files.refuse_overwrite(self.output_file, force=self.force)


def _listed(text: str) -> list[str]:
    """A name, or those in the file that is named behind ``@``.

    Raises:
        InputError: If the file cannot be read.
    """
    if not text.startswith("@"):
        return [text]
    path = Path(text[1:])
    try:
        return [line for line in path.read_text(encoding="utf-8").splitlines() if line]
    except (OSError, UnicodeDecodeError) as error:
        fact = files.reason(error) if isinstance(error, OSError) else "it is no UTF-8 text"
        raise InputError(f"cannot be read: {fact}").within(subject=str(path)) from error


def excluded(option: str, others: str) -> UsageError:
    """The error of options that do not go together."""
    return UsageError(f"{option} does not go with {others}", hint="give one of them")


def needs(option: str, other: str, reason: str) -> UsageError:
    """The error of an option without another that it needs."""
    return UsageError(f"{option} needs {other}: {reason}")


def names(text: str | None) -> list[str] | None:
    """The names of a comma-separated list."""
    return [name.strip() for name in text.split(",")] if text is not None else None


def by_output(texts: list[str] | None, option: str) -> float | dict[str, float] | None:
    """A tolerance for all outputs, or one by output name.

    Raises:
        UsageError: If a text is no number, or the two forms are mixed.
    """
    if not texts:
        return None
    numbers: dict[str, float] = {}
    for text in texts:
        name, _, number = text.rpartition(":")
        try:
            numbers[name] = float(number)
        except ValueError as error:
            raise UsageError(
                f"cannot read {option} {text!r}", hint=f"write {option} 1e-5 or {option} NAME:1e-5"
            ) from error
    if "" not in numbers:
        return numbers
    if len(numbers) > 1:
        raise UsageError(f"{option} is given for all outputs and for one", hint="give one kind")
    return numbers[""]


def value_ranges(texts: list[str] | None) -> dict[str, tuple[float, float]]:
    """Smallest and largest value by input name.

    Raises:
        UsageError: If a text is not of the form ``x:0..255``.
    """
    ranges: dict[str, tuple[float, float]] = {}
    for text in texts or ():
        name, _, bounds = text.rpartition(":")
        low, _, high = bounds.partition("..")
        try:
            first, last = float(low), float(high)
            if not name or not first <= last or math.inf in (-first, last):
                raise ValueError(text)
        except ValueError as error:
            raise UsageError(
                f"cannot read --values {text!r}", hint="write --values x:0..255"
            ) from (error)
        ranges[name] = (first, last)
    return ranges
