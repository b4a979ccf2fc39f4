"""A model in memory: the graph, the file it came from, and how to write it again."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir

from tripoint import files
from tripoint.errors import InputError
from tripoint.graph.names import node_name
from tripoint.words import number_of

if TYPE_CHECKING:
    import onnx

TEXT_SUFFIXES = frozenset({".onnxtxt", ".onnxtext"})
DECLARED_AS_OUTPUT = "tripoint.declared_as_output"
"""Key in the ``meta`` of an input: its shape in the list of outputs, where that is another."""
_INLINE_LIMIT = 1 << 30
_MOST_NODES = 10_000_000


@dataclass
class Model:
    """An ONNX model and where it came from.

    Args:
        ir: The graph. Large weights stay in their file until they are used.
        path: The file that holds exactly this graph, None for one that was made or changed in
            memory: other programs are given the file where there is one.
        written: The file of the same function, where only names of dims differ from it.
    """

    ir: ir.Model
    path: Path | None = None
    written: Path | None = None

    @property
    def origin(self) -> Path | None:
        """The file that a user knows the model by, None for one that was made in memory."""
        return self.path or self.written

    @cached_property
    def sha256(self) -> str | None:
        """Hash of the ONNX file (not of its external data), None without a file."""
        return sha256(self.origin) if self.origin else None

    @property
    def opset(self) -> int:
        """Version of the default operator set; 0 if the model does not import it."""
        return self.ir.opset_imports.get("", 0)

    @property
    def nodes(self) -> int:
        """Number of nodes, those of nested graphs included."""
        return sum(1 for _ in self.ir.graph.all_nodes())


def sha256(path: Path) -> str:
    """Hash of a file, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def load(path: str | os.PathLike[str]) -> Model:
    """Read an ONNX file, binary or (``.onnxtxt``) in ONNX textual form.

    External data is checked, not read: each file must be located in the model's folder, exist and
    be long enough.

    Raises:
        InputError: If the file is missing, empty, truncated or not ONNX, or if its external
            data is missing, too short or outside the folder.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
    except OSError as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        fact = "no such file" if missing else files.reason(error)
        raise InputError(fact).within(subject=str(path)) from error
    if path.is_dir():
        raise InputError("this is a folder, not a model").within(subject=str(path))
    if size == 0:
        raise InputError("the file is empty").within(subject=str(path))
    try:
        loaded = _parse(path)
        _check_structure(loaded)
        _sort(loaded)
        _check_external_data(loaded, path.parent)
        _normalize_domain(loaded)
    except InputError as error:
        raise error.within(subject=str(path)) from error
    return Model(loaded, path)


def _parse(path: Path) -> ir.Model:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        if path.suffix in TEXT_SUFFIXES:
            proto = onnx.parser.parse_model(path.read_text(encoding="utf-8"))
        else:
            # External data is mapped where it is read.
            proto = onnx.load(path, load_external_data=False)
        parsed = ir.from_proto(proto)
        for graph in parsed.graphs():
            ir.external_data.set_base_dir(graph, path.parent)
        _keep_inputs(parsed.graph, proto.graph)
        return parsed
    except (DecodeError, UnicodeDecodeError) as error:
        raise InputError("not an ONNX file, or a truncated one") from error
    except onnx.parser.ParseError as error:
        raise InputError(f"not ONNX text: {_decoded(error)}") from error
    except OSError as error:
        raise InputError(f"cannot be read: {files.reason(error)}") from error
    except Exception as error:
        raise InputError(f"not a usable ONNX model: {_root(error)}") from error


def _keep_inputs(graph: ir.Graph, proto: onnx.GraphProto) -> None:
    """Declare each input that is an output as well as the list of inputs does.

    onnx-ir takes what the list of outputs says; ONNX Runtime 1.32 takes the other, whatever that
    says.
    """
    outputs = {info.name for info in proto.output}
    for info, value in zip(proto.input, graph.inputs, strict=True):
        if info.name in outputs and not value.is_initializer():
            said = value.shape
            ir.serde.deserialize_value_info_proto(info, value)
            if said is not None and said != value.shape:
                value.meta[DECLARED_AS_OUTPUT] = said


def _root(error: BaseException) -> BaseException:
    """Return the cause of an error; onnx-ir wraps it in one for each level of the model."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _decoded(error: Exception) -> str:
    """The text of a parse error, which onnx raises as bytes."""
    (text,) = error.args or ("",)
    decoded = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
    return " ".join(decoded.split())


def _normalize_domain(model: ir.Model) -> None:
    """Call the default operator set by its empty name; ``ai.onnx`` means the same."""
    for imports in (model.opset_imports, *(f.opset_imports for f in model.functions.values())):
        if "ai.onnx" in imports:
            imports.setdefault("", imports.pop("ai.onnx"))
    for graph in model.graphs():
        for node in graph:
            if node.domain == "ai.onnx":
                node.domain = ""


def _check_structure(model: ir.Model) -> None:
    if not model.graph.outputs:
        raise InputError("not an ONNX file, or a truncated one: its graph has no outputs")
    if not model.opset_imports:
        raise InputError("the model imports no operator set, so its operators have no meaning")
    for name, count in Counter(value.name for value in model.graph.inputs).items():
        if count > 1:
            raise InputError(f"{count} inputs of the graph are named {name!r}")
    for node in model.graph.all_nodes():
        for value in node.inputs:
            if value is not None and _made_by_nothing(value):
                raise InputError(f"{_described(node)} reads {value.name!r}, which nothing produces")
    for value in model.graph.outputs:
        if _made_by_nothing(value):
            raise InputError(f"nothing produces the graph output {value.name!r}")
    _check_functions(model)


def _described(node: ir.Node) -> str:
    return f"node {node_name(node)!r} ({node.op_type})"


def _check_functions(model: ir.Model) -> None:
    """Refuse local functions that call themselves, or that expand to no end of nodes."""
    sizes: dict[ir.OperatorIdentifier, int] = {}
    pending = [(key, False) for key in model.functions]
    open_calls: set[ir.OperatorIdentifier] = set()
    while pending:
        key, called_done = pending.pop()
        calls = [node.op_identifier() for node in model.functions[key].all_nodes()]
        if called_done:
            open_calls.discard(key)
            sizes[key] = sum(sizes.get(call, 1) for call in calls)
            if sizes[key] > _MOST_NODES:
                raise InputError(
                    f"the local function {key[1]!r} expands to {number_of(sizes[key], 'node')}, "
                    f"more than {_MOST_NODES}"
                )
        elif key not in sizes:
            open_calls.add(key)
            pending.append((key, True))
            for call in set(calls) & model.functions.keys():
                if call in open_calls:
                    raise InputError(f"the local function {call[1]!r} calls itself")
                pending.append((call, False))


def _sort(model: ir.Model) -> None:
    """Bring nodes into an order in which each comes after those whose outputs it consumes.

    The ONNX specification demands one; TensorRT and ONNX Runtime read any.
    """
    graphs: list[ir.Graph | ir.Function] = [model.graph, *model.functions.values()]
    for graph in graphs:
        if _is_sorted(graph):
            continue
        try:
            graph.sort()
        except ValueError as error:
            raise InputError("the graph has a cycle: a node reads what is made of it") from error


def _is_sorted(graph: ir.Graph | ir.Function) -> bool:
    position = {node: place for place, node in enumerate(graph.all_nodes())}
    return all(
        producer is None or position.get(producer, -1) < place
        for node, place in position.items()
        for value in node.inputs
        if value is not None
        for producer in (value.producer(),)
    )


def _made_by_nothing(value: ir.Value) -> bool:
    return not (value.producer() or value.is_graph_input() or value.is_initializer())


def external_tensors(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    """All tensors of a model that live in another file."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                yield value.const_value
        for node in graph:
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.TENSOR and isinstance(
                    attribute.value, ir.ExternalTensor
                ):
                    yield attribute.value


def _check_external_data(model: ir.Model, folder: Path) -> None:
    root = folder.resolve()
    sizes: dict[str, int] = {}
    for tensor in external_tensors(model):
        location = os.fspath(tensor.location)
        if location not in sizes:
            target = (root / location).resolve()
            leaves = Path(location).is_absolute() or ".." in Path(location).parts
            if leaves or not target.is_relative_to(root):
                raise InputError(
                    f"tensor {tensor.name!r} points at {location!r}, outside the model's folder",
                    hint="external data must lie beside the model; this file is refused",
                )
            if not target.is_file():
                raise InputError(
                    f"external data {location!r} is missing",
                    hint="copy the data file into the folder of the model",
                )
            sizes[location] = target.stat().st_size
        end = (tensor.offset or 0) + (tensor.length or tensor.nbytes)
        if end > sizes[location]:
            raise InputError(
                f"external data {location!r} has {sizes[location]} bytes, "
                f"tensor {tensor.name!r} ends at {end}",
                hint="the data file is truncated or belongs to another model",
            )


def save(model: Model, path: Path, *, force: bool = False) -> Model:
    """Write a model with its external data, all of it or nothing.

    Data that already lies where the model goes is left alone. Other data is copied, byte by byte:
    readers refuse hard and symbolic links as an attack (onnx 1.23, onnxruntime 1.32).

    Args:
        model: What to write. Its graph is not changed.
        path: Where; ``.onnxtxt`` writes ONNX textual form.
        force: Whether existing files may be replaced.

    Returns:
        The model as it now lies at ``path``.

    Raises:
        OutputError: If a file exists without ``force``, or cannot be written.
    """
    for data in _own_data(model.ir):
        files.refuse_same(data, path)
    large = _inline_bytes(model.ir) > _INLINE_LIMIT and path.suffix not in TEXT_SUFFIXES
    with contextlib.ExitStack() as written:
        # What is entered first is put in place last: the model, once its data is there.
        temporary = written.enter_context(files.atomic(path, force=force))
        if large:
            data = path.with_name(path.name + ".data")
            weights = written.enter_context(files.atomic(data, force=force))
            _write_split(model.ir, path, temporary, data, weights)
        else:
            for source, location in _foreign_data(model.ir, path.parent).items():
                target = files.in_folder(path.parent, location)
                shutil.copyfile(source, written.enter_context(files.atomic(target, force=force)))
            _write(model.ir, path, temporary)
    return load(path)


def _write_split(model: ir.Model, path: Path, here: Path, data: Path, data_here: Path) -> None:
    """Write a graph and all its weights as two files, to ``here`` and ``data_here``."""
    with tempfile.TemporaryDirectory(prefix=".tripoint-", dir=path.parent) as folder:
        ir.save(model, Path(folder, path.name), external_data=data.name)
        Path(folder, data.name).replace(data_here)
        Path(folder, path.name).replace(here)


def _write(model: ir.Model, path: Path, here: Path) -> None:
    """Write a graph to ``here`` in the format that ``path`` asks for."""
    if path.suffix in TEXT_SUFFIXES:
        import onnx

        here.write_text(onnx.printer.to_text(ir.to_proto(model)), encoding="utf-8")
    else:
        ir.save(model, here)


def _inline_bytes(model: ir.Model) -> int:
    return sum(
        value.const_value.nbytes
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None and not isinstance(value.const_value, ir.ExternalTensor)
    )


def _foreign_data(model: ir.Model, folder: Path) -> dict[Path, str]:
    """Location by file, of the data files that are not located in ``folder`` yet."""
    locations = {}
    for source, location in _own_data(model).items():
        target = folder / location
        if not (target.exists() and target.samefile(source)):
            locations[source] = location
    return locations


def _own_data(model: ir.Model) -> dict[Path, str]:
    """Location by file, of all data files."""
    return {
        Path(tensor.base_dir) / tensor.location: os.fspath(tensor.location)
        for tensor in external_tensors(model)
    }


@contextlib.contextmanager
def as_file(model: Model) -> Iterator[Path]:
    """A path at which TensorRT can read the model as binary ONNX.

    Yields:
        The model's own path if it has one, otherwise a temporary file that is removed after the
        block. Its external data is linked, which TensorRT's parser follows.
    """
    if model.path and model.path.suffix not in TEXT_SUFFIXES:
        yield model.path
        return
    with tempfile.TemporaryDirectory(prefix="tripoint-") as folder:
        for source, location in _foreign_data(model.ir, Path(folder)).items():
            link = Path(folder) / location
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(source.resolve())
        path = Path(folder) / "model.onnx"
        ir.save(model.ir, path)
        yield path
