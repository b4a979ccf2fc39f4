"""A PyTorch module out of Python code that a user named."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.machinery
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, TypeVar

from tripoint.errors import InputError, MissingDependencyError, TripointError
from tripoint.graph.source_lines import Frame, shown_path
from tripoint.sources import arguments
from tripoint.sources.arguments import Arguments
from tripoint.sources.reference import PythonReference, public_names
from tripoint.sources.unwrap import unwrap

if TYPE_CHECKING:
    from torch import Tensor, nn

_SEED = 0
_T = TypeVar("_T")


@dataclass(frozen=True)
class TorchModel:
    """A PyTorch module, ready to export or to run.

    Args:
        module: The module, in evaluation mode.
        example_inputs: Example tensor by parameter name of ``forward``; empty if none was given.
        input_names: Parameters of ``forward`` that a caller may name, in order.
        optional_inputs: Those of them that have a default value.
        reference: How the user named it.
        arguments: How ``forward`` is called with them.
        notes: What was taken off the module, and which of its inputs are constants.
    """

    module: nn.Module
    example_inputs: Mapping[str, Tensor]
    input_names: tuple[str, ...]
    optional_inputs: frozenset[str]
    reference: str
    arguments: Arguments
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, module: nn.Module, example_inputs: object = None, *, reference: str | None = None
    ) -> TorchModel:
        """Wrap a module that exists already; it is put into evaluation mode.

        Args:
            module: The module; ``torch.compile``, ``DataParallel`` and their like are taken off.
            example_inputs: A tensor, a tuple by position or a dict by parameter name, of tensors,
                constants, and dicts, tuples and dataclasses of both.
            reference: How messages should name it, by default its class.

        Raises:
            InputError: If the example inputs do not fit the parameters of ``forward``.
        """
        module, notes = unwrap(module)
        signature = arguments.read(module, example_inputs)
        constants = (
            f"{place} = {value!r} of the example inputs is no tensor: it stays a constant"
            for place, value in signature.constants.items()
        )
        return cls(
            module=module.eval(),
            example_inputs=signature.examples,
            input_names=signature.names,
            optional_inputs=signature.optional,
            reference=reference or type(module).__name__,
            arguments=signature,
            notes=(*notes, *constants),
        )

    def __call__(self, tensors: Mapping[str, Tensor]) -> object:
        """Return the result of ``forward``.

        Args:
            tensors: Tensor by input name; ``forward`` gets copies, since it may change them.
        """
        args, named = self.arguments.bind(copies(tensors))
        return self.module(*args, **named)

    @property
    def required_inputs(self) -> tuple[str, ...]:
        """Inputs that must be given, and those that an example is given for."""
        return tuple(
            name
            for name in self.input_names
            if name not in self.optional_inputs or name in self.example_inputs
        )


def copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that share no memory, where one tensor may stand for several inputs."""
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def load_module(reference: PythonReference) -> TorchModel:
    """Import the code that a reference names and take the module from it.

    The name may be an ``nn.Module``, or a class or function that, called without arguments,
    returns one or ``(module, example_inputs)``. What the code prints goes to standard error.

    Raises:
        MissingDependencyError: If torch is not installed.
        InputError: If the code cannot be imported, has no such name or returns something else.
    """
    require_torch()
    try:
        with (
            _importable(reference.location),
            _fixed_seed(),
            contextlib.redirect_stdout(sys.stderr),
        ):
            container = _import(reference.location)
            module, examples = _build(_attribute(container, reference), reference)
        return TorchModel.of(module, examples, reference=str(reference))
    except TripointError as error:
        raise error.within(subject=str(reference)) from error


def call(reference: PythonReference, take: Callable[[object], _T]) -> _T:
    """Import the code that a reference names, call the function and take what it gives.

    Args:
        reference: Names a function without arguments.
        take: Makes the result of what the function returned, while its code can still import
            what lies beside it; a generator is at work then.

    Raises:
        InputError: If the code cannot be imported, has no such function, or raises.
    """
    with _importable(reference.location), contextlib.redirect_stdout(sys.stderr):
        function = _attribute(_import(reference.location), reference)
        if not callable(function):
            raise InputError(f"{reference.name} is a {type(function).__name__}, not a function")
        doing = f"calling {reference.name}()"
        return _run(doing, lambda: take(function()), reference.location)


def require_torch() -> None:
    """Make sure that torch can be imported.

    Raises:
        MissingDependencyError: If it cannot.
    """
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"PyTorch cannot be imported: {error}", hint="pip install 'tripoint[torch]'"
        ) from error


def describe_failure(error: BaseException, own_file: str | None = None) -> str:
    """An exception that user code raised, with its type and the user's file and line.

    Args:
        error: The exception.
        own_file: The file that the user named; the deepest line in it is preferred.
    """
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    if isinstance(error, SyntaxError):
        text = f"{type(error).__name__}: {error.msg}"
        return f"{text} ({shown_path(error.filename or '?')}:{error.lineno or 0})"
    frames = [
        Frame(entry.filename, entry.lineno or 0, entry.name)
        for entry in reversed(traceback.extract_tb(error.__traceback__))
    ]
    package = str(Path(__file__).resolve().parent.parent)
    frames = [frame for frame in frames if not frame.file.startswith(package)]
    candidates = [frame for frame in frames if frame.file == own_file]
    candidates += [frame for frame in frames if not frame.in_library]
    return f"{text} ({shown_path(candidates[0].file)}:{candidates[0].line})" if candidates else text


class _FreshLoader(importlib.machinery.SourceFileLoader):
    """Compiles the source each time, so that no byte code is written or found stale."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


@contextlib.contextmanager
def _importable(location: Path | str) -> Iterator[None]:
    folder = str(location.resolve().parent if isinstance(location, Path) else Path.cwd())
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            sys.path.remove(folder)


@contextlib.contextmanager
def _fixed_seed() -> Iterator[None]:
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(_SEED)
        yield


def _import(location: Path | str) -> ModuleType:
    if isinstance(location, Path):
        return _run("importing it", lambda: _import_file(location.resolve()), location)
    try:
        spec = importlib.util.find_spec(location)
    except (ImportError, ValueError) as error:
        raise InputError(f"module {location} cannot be found: {error}") from error
    if spec is None:
        raise InputError(
            f"there is no module {location}",
            hint="run in the folder that holds it, install it, or write file.py:name",
        )
    return _run("importing it", lambda: importlib.import_module(location), location)


def _import_file(path: Path) -> ModuleType:
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    name = f"_tripoint_{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path, loader=_FreshLoader(name, str(path)))
    if spec is None or spec.loader is None:
        raise InputError("this is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickle look their module up by name while the file runs.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _run(doing: str, action: Callable[[], _T], location: Path | str) -> _T:
    own_file = str(location.resolve()) if isinstance(location, Path) else None
    try:
        return action()
    except TripointError:
        raise
    except (Exception, SystemExit) as error:
        raise InputError(f"{doing} failed: {describe_failure(error, own_file)}") from error


def _attribute(container: ModuleType, reference: PythonReference) -> object:
    if hasattr(container, reference.name):
        return getattr(container, reference.name)
    file = getattr(container, "__file__", None)
    names = public_names(Path(file)) if file else []
    raise InputError(
        f"there is no {reference.name!r} in {reference.location}",
        hint=f"it has {', '.join(names)}" if names else None,
    )


def _build(built: object, reference: PythonReference) -> tuple[nn.Module, object]:
    from torch import nn

    if not isinstance(built, nn.Module) and callable(built):
        built = _run(f"calling {reference.name}()", built, reference.location)
    examples: object = None
    if isinstance(built, tuple) and len(built) == 2:
        built, examples = built
    if not isinstance(built, nn.Module):
        raise InputError(
            f"{reference.name} gives a {type(built).__name__}, not a module",
            hint="name an nn.Module, or a callable that returns one or (module, example_inputs)",
        )
    return built, examples
