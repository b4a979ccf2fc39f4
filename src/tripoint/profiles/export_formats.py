"""Profiles as other tools take them.

==================  ==============================================================================
trtexec             ``--minShapes=x:1x3,y:1x8``; odd names in single quotes; ``--profile=N`` in
                    front of each of several
Polygraphy          ``--trt-min-shapes x:[1,3] y:[1,8]``, repeated for several
ONNX Runtime        ``trt_profile_min_shapes`` of the TensorRT execution provider and
                    ``nv_profile_min_shapes`` of the one for TensorRT-RTX; several one after the
                    other
Torch-TensorRT      ``torch_tensorrt.Input(min_shape=..., opt_shape=..., max_shape=..., dtype=...)``
==================  ==============================================================================

All take the values of a shape tensor as if they were its dims.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tripoint.graph import passthrough
from tripoint.numeric.inputs import InputSpecs
from tripoint.profiles.profile import InputProfile, Profile, Sizes
from tripoint.spec import ENDS

_PLAIN = re.compile(r"[A-Za-z0-9_./-]+")
_TORCH = {"float": "float32", "double": "float64"}


@dataclass(frozen=True, slots=True)
class Spellings:
    """Profiles in the words of four tools.

    Args:
        trtexec: Options for a shell.
        polygraphy: Options for a shell.
        onnxruntime: Options by execution provider; every value is a text.
        torch_tensorrt: A Python list of inputs for each profile.
        notes: What a spelling cannot say.
    """

    trtexec: str
    polygraphy: str
    onnxruntime: Mapping[str, Mapping[str, str]]
    torch_tensorrt: tuple[str, ...]
    notes: tuple[str, ...] = ()


def spell(
    profiles: Sequence[Profile], inputs: InputSpecs, outputs: Collection[str] = ()
) -> Spellings:
    """Write profiles for other tools.

    Args:
        profiles: The profiles, of one model.
        inputs: Element type and true shape by input; those of a fixed shape are left out where
            a tool does not ask for them.
        outputs: Names of the graph outputs; see :mod:`tripoint.graph.passthrough`.
    """
    told = [
        [
            each
            for each in profile.inputs
            if each.values or any(isinstance(dim, str) for dim in inputs[each.name][1])
        ]
        for profile in profiles
    ]
    # These two build the whole model; for the others TensorRT gets graphs of their own making.
    whole = [
        [replace(i, name=passthrough.engine_name(i.name, outputs)) for i in own] for own in told
    ]
    return Spellings(
        trtexec=trtexec(whole),
        polygraphy=_polygraphy(whole),
        onnxruntime={
            provider: _onnxruntime(told, prefix)
            for provider, prefix in (
                ("TensorrtExecutionProvider", "trt"),
                ("NvTensorRTRTXExecutionProvider", "nv"),
            )
        },
        torch_tensorrt=tuple(
            _torch(profile, {each.name for each in own}, inputs)
            for profile, own in zip(profiles, told, strict=True)
        ),
        notes=tuple(_notes({each.name for own in told for each in own})),
    )


def _notes(names: Collection[str]) -> Iterator[str]:
    if odd := sorted(name for name in names if "," in name):
        yield f"ONNX Runtime cannot take the name {odd[0]!r}: it parts shapes at commas"
    if odd := sorted(name for name in names if "'" in name):
        yield f"trtexec cannot take the name {odd[0]!r}: it removes single quotes"


def _onnxruntime(told: Sequence[Sequence[InputProfile]], prefix: str) -> dict[str, str]:
    return {
        f"{prefix}_profile_{end}_shapes": ",".join(
            f"{each.name}:{_x(getattr(each, end))}" for own in told for each in own
        )
        for end in ENDS
    }


def _x(sizes: Sizes) -> str:
    return "x".join(map(str, sizes)) or "scalar"


def trtexec(told: Sequence[Sequence[InputProfile]]) -> str:
    """Options of trtexec: the inputs of each profile, with their sizes."""
    options = []
    for index, own in enumerate(told):
        if len(told) > 1:
            options.append(f"--profile={index}")
        for end in ENDS:
            shapes = ",".join(f"{quoted(each.name)}:{_x(getattr(each, end))}" for each in own)
            options.append(shlex.quote(f"--{end}Shapes={shapes}"))
    return " ".join(options)


def quoted(name: str) -> str:
    """The name of an input, in single quotes where it would be read as something else."""
    return name if _PLAIN.fullmatch(name) else f"'{name}'"


def _polygraphy(told: Sequence[Sequence[InputProfile]]) -> str:
    options = []
    for own in told:
        for end in ENDS:
            options.append(f"--trt-{end}-shapes")
            options += [
                shlex.quote(f"{each.name}:[{','.join(map(str, getattr(each, end)))}]")
                for each in own
            ]
    return " ".join(options)


def _torch(profile: Profile, told: Collection[str], inputs: InputSpecs) -> str:
    lines = []
    for each in profile.inputs:
        shapes = [f"{end}_shape={getattr(each, end)!r}" for end in ENDS]
        if each.name not in told:
            shapes = [f"shape={each.opt!r}"]
        dtype = inputs[each.name][0]
        options = [*shapes, f"dtype=torch.{_TORCH.get(dtype, dtype)}"]
        options += ["is_shape_tensor=True"] if each.values else []
        lines.append(f"    torch_tensorrt.Input({', '.join(options)}),")
    return "\n".join(["[", *lines, "]"])
