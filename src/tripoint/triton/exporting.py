"""Writes a model into a Triton model repository."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tripoint import files
from tripoint import model as models
from tripoint.errors import InputError, OutputError, TripointError, UsageError
from tripoint.graph import passthrough
from tripoint.model import Model
from tripoint.shape_inference import truth
from tripoint.shape_inference.dim_names import distinct
from tripoint.symbols import Shape
from tripoint.table import format_shape
from tripoint.triton import batching, config, interface, plan, text
from tripoint.triton.batching import Batching, TrueShapes
from tripoint.triton.interface import Interface
from tripoint.triton.plan import Plan

CONFIG = "config.pbtxt"
_LONGEST_NAME = 255


@dataclass(frozen=True, slots=True)
class Exported:
    """A model in a repository.

    Args:
        repository: Its folder.
        name: Name of the model.
        version: Version that was written.
        backend: The backend that serves it.
        written: The files that were written.
        kept: The configuration, if the same was there already.
        batching: Its ``max_batch_size`` and why.
        config: The text of the configuration.
        needs: What the machine with Triton must have.
        warnings: What will not work, or not as one might think.
    """

    repository: Path
    name: str
    version: int
    backend: str
    written: tuple[Path, ...]
    kept: Path | None
    batching: Batching
    config: str
    needs: tuple[str, ...]
    warnings: tuple[str, ...]


def export(
    source: Path,
    repository: Path,
    *,
    name: str | None = None,
    version: int = 1,
    max_batch_size: int | None = None,
    dynamic_batching: bool = False,
    model: Path | None = None,
    force: bool = False,
) -> Exported:
    """Write ``NAME/config.pbtxt`` and the model file of one version into a repository.

    Needs no GPU: what a plan takes and gives is read from the manifest beside it, which is
    copied, too.

    Args:
        source: A plan with its manifest, or an ONNX model.
        repository: The repository; it and what lacks in it is made.
        name: Name of the model, by default that of the file.
        version: The version folder, at least 1.
        max_batch_size: The value to write, None to derive it; see
            :func:`tripoint.triton.batching.decide`.
        dynamic_batching: Whether Triton may put requests together.
        model: The ONNX model that a plan was built from, by default the file of that name beside
            it. It shows whether the first axis is the batch.
        force: Whether existing files may be replaced.

    Raises:
        UsageError: If the name, the version or ``max_batch_size`` will not do.
        InputError: If a file cannot be read, a plan has no manifest, or Triton cannot serve a
            tensor.
        OutputError: If a file exists without ``force``, or cannot be written.
        ExternalStepError: If ONNX Runtime cannot load an ONNX model.
    """
    if version < 1:
        raise UsageError(f"version {version} is none", hint="versions are 1, 2, 3 and so on")
    name = _checked_name(source.stem if name is None else name)
    is_onnx = source.suffix in {".onnx", *models.TEXT_SUFFIXES}
    described, built, shapes, onnx, untrue = (
        _of_onnx(source) if is_onnx else _of_plan(source, model)
    )
    decided = batching.decide(described, shapes, max_batch_size)
    if dynamic_batching and decided.max_batch_size == 0:
        raise UsageError(f"--dynamic-batching has nothing to batch: {decided.reason}")
    size = decided.max_batch_size
    content = text.write(config.make(described, name, size, dynamic_batching=dynamic_batching))
    folder = repository / name
    written, kept = _write(
        folder,
        f"{version}/{config.FILES[described.backend]}",
        content,
        onnx or source,
        built,
        force,
    )
    return Exported(
        repository,
        name,
        version,
        described.backend,
        written,
        kept,
        decided,
        content,
        tuple(_needs(built)),
        (*_corrected(untrue, shapes), *_warnings(described, built, size)),
    )


def _checked_name(name: str) -> str:
    """The name of a model, which is also the name of its folder and part of a URL.

    Raises:
        UsageError: If it would lead elsewhere, or not be what it looks like.
    """
    odd = [c for c in name if c in '/\\:*?"<>|' or (c != " " and not c.isprintable())]
    hint = "choose a name of letters, digits, _, - and . with --name"
    if not name or name != name.strip() or name.startswith("."):
        raise UsageError(f"{name!r} cannot be the name of a model", hint=hint)
    if odd:
        raise UsageError(f"the name of a model cannot hold {odd[0]!r}: {name!r}", hint=hint)
    if len(name.encode("utf-8", "surrogatepass")) > _LONGEST_NAME:
        raise UsageError(f"the name is longer than {_LONGEST_NAME} bytes", hint=hint)
    return name


_Known = tuple[Interface, Plan | None, TrueShapes, Model | None, Mapping[str, Shape]]
"""The last two are of an ONNX model: what is written, and what its file says of an output though
the graph contradicts it."""


def _of_onnx(path: Path) -> _Known:
    loaded = interface.load_model(path)
    return loaded.interface, None, TrueShapes(loaded.shapes), loaded.model, loaded.untrue


def _of_plan(path: Path, model: Path | None) -> _Known:
    if not path.is_file():
        fact = "this is a folder, not a plan" if path.is_dir() else "no such file"
        raise InputError(fact).within(subject=str(path))
    built = plan.read(path)
    if built is None:
        raise InputError(
            f"there is no {plan.manifest_path(path).name} beside it, and a plan does not say what "
            "it takes and gives without a GPU",
            hint="tripoint build writes both; copy the manifest beside the plan, or build again",
        ).within(subject=str(path))
    return built.interface, built, _shapes_of_plan(path, built, model), None, {}


def _shapes_of_plan(path: Path, built: Plan, onnx: Path | None) -> TrueShapes:
    """The true shapes of the model that a plan was built from, if that is at hand."""
    # A name and no more: a manifest may come from anywhere.
    onnx_path = onnx or path.with_name(Path(built.model or "model.onnx").name)
    try:
        model = models.load(onnx_path)
        if model.sha256 != built.model_sha256:
            raise InputError("the plan was built from another model").within(subject=str(onnx_path))
        return _true_shapes(model)
    except TripointError as error:
        if onnx is not None:
            raise
        return TrueShapes({}, f"the ONNX model would show it; {error}; --model FILE gives it")


def _true_shapes(model: Model) -> TrueShapes:
    shapes = truth.infer(model.ir).shapes
    outputs = {value.name or "" for value in model.ir.graph.outputs}
    names = (value.name or "" for value in model.ir.graph.inputs)
    # A plan may call an input otherwise.
    in_plan = {passthrough.engine_name(name, outputs): shapes.get(name) for name in names}
    return TrueShapes({**in_plan, **shapes})


def _write(
    folder: Path,
    model_file: str,
    content: str,
    source: Path | Model,
    built: Plan | None,
    force: bool,
) -> tuple[tuple[Path, ...], Path | None]:
    """Write the files of a model, all or none; what was written, and the configuration if kept."""
    config_path, target = folder / CONFIG, folder / model_file
    for path in (folder, target.parent):
        _refuse_outside(path, folder.parent)
    kept = config_path if _holds(config_path, content) else None
    with contextlib.ExitStack() as stack:
        stack.enter_context(_folders(target.parent))
        written = []
        # What is entered first is put in place last: the configuration, once the rest is there.
        if kept is None:
            here = stack.enter_context(files.atomic(config_path, force=force))
            here.write_text(content, encoding="ascii")
            written.append(config_path)
        if built is not None:
            described = plan.manifest_path(target)
            here = stack.enter_context(files.atomic(described, force=force))
            here.write_text(json.dumps(built.manifest, indent=2) + "\n", encoding="utf-8")
            written.append(described)
        if isinstance(source, Model):
            models.save(distinct(source), target, force=force)
        else:
            files.refuse_same(source, target)
            shutil.copyfile(source, stack.enter_context(files.atomic(target, force=force)))
    return (*written, target), kept


def _holds(path: Path, content: str) -> bool:
    try:
        return path.read_bytes() == content.encode()
    except OSError:
        return False


def _refuse_outside(path: Path, repository: Path) -> None:
    if not path.resolve().is_relative_to(repository.resolve()):
        raise OutputError(
            f"{path} leads outside the repository, to {path.resolve()}",
            hint="remove the link, or choose another --name",
        )


@contextlib.contextmanager
def _folders(path: Path) -> Iterator[None]:
    """Make a folder; where the block fails, the folders that were made for it go again."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write to {path}: {files.reason(error)}") from error
    try:
        yield
    except BaseException:
        for each in missing:
            with contextlib.suppress(OSError):
                each.rmdir()
        raise


def _needs(built: Plan | None) -> Iterator[str]:
    """Yield what the machine with Triton must have."""
    if built is None:
        yield "Triton with the backend onnxruntime, of a version that knows the model's opset"
        return
    if not built.rtx:
        yield (
            f"Triton with the backend tensorrt and TensorRT {built.version}, which built the "
            "plan; the release notes of an image name its version"
        )
        if built.gpu:
            yield f"a GPU such as {built.gpu}, on which the plan was built"
    for variable, value in built.environment.items():
        yield f"{variable}={value} in the environment of Triton"


def _warnings(described: Interface, built: Plan | None, size: int) -> Iterator[str]:
    if built is not None and built.rtx:
        yield rtx(built)
    least = batching.smallest(described)
    if size and least is not None and least > 1:
        yield f"a batch of fewer than {least} rows is refused: no profile goes below"


def _corrected(untrue: Mapping[str, Shape], shapes: TrueShapes) -> Iterator[str]:
    for name, said in untrue.items():
        yield (
            f"the file declares output {name!r} as {format_shape(said)}, and its graph gives "
            f"{format_shape(shapes.by_name.get(name))}: the copy that was written declares that"
        )


def rtx(built: Plan) -> str:
    """Return the reason that Triton cannot load a plan of TensorRT-RTX."""
    return (
        f"Triton cannot load this plan: it is one of TensorRT-RTX {built.version}, and the backend "
        "tensorrt is made with TensorRT, another library that reads its own plans only. Build "
        "with --tensorrt tensorrt on a machine with a GPU, or export the ONNX model, which the "
        "backend onnxruntime serves"
    )
