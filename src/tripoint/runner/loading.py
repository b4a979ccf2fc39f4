"""From the bytes of a plan to a session."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tripoint.engine import manifest
from tripoint.engine.manifest import Machine
from tripoint.errors import ExternalStepError, InputError
from tripoint.files import reason
from tripoint.runner.contexts import OnContext
from tripoint.runner.core import Session
from tripoint.runner.device import Cuda
from tripoint.trt import native
from tripoint.trt.protocol import Emit


@dataclass
class Loaded:
    """A session and what must live as long as it does.

    Args:
        session: Executes the engine.
        engine: ``ICudaEngine``.
        runtime: ``Runtime``, which owns what the engine uses.
        logger: ``ILogger``, which both write to.
    """

    session: Session
    engine: Any
    runtime: Any
    logger: Any

    def close(self) -> None:
        """Give everything back, the runtime last."""
        self.session.close()
        self.engine = None
        self.runtime = None


def read(plan: Path) -> bytes:
    """The bytes of a plan.

    Raises:
        InputError: If it is missing, empty, a folder, or cannot be read.
    """
    try:
        content = plan.read_bytes()
    except FileNotFoundError as error:
        raise InputError("no such file").within(subject=str(plan)) from error
    except IsADirectoryError as error:
        raise InputError("this is a folder, not a plan").within(subject=str(plan)) from error
    except OSError as error:
        raise InputError(f"cannot be read: {reason(error)}").within(subject=str(plan)) from error
    if not content:
        raise InputError("the file is empty").within(subject=str(plan))
    return content


def refuse_unfit(
    plan: Path, content: bytes, machine: Machine, environment: Mapping[str, str] | None = None
) -> None:
    """Raise if the manifest beside a plan speaks against running it here.

    A plan without a manifest is for TensorRT to judge.

    Args:
        plan: The plan.
        content: Its bytes.
        machine: What would run it.
        environment: The variables in effect, those of this process by default.

    Raises:
        InputError: If the plan is not the one that its manifest describes.
        ExternalStepError: If it was built for another TensorRT, platform, GPU or environment.
    """
    beside = manifest.path_for(plan)
    if not beside.is_file():
        return
    recorded = manifest.read(beside)
    if recorded["engine"].get("sha256") != hashlib.sha256(content).hexdigest():
        raise InputError(
            f"this is not the plan that {beside.name} describes: their hashes differ",
            hint="build it again, or remove the manifest if the plan is from elsewhere",
        ).within(subject=str(plan))
    differences = manifest.differences(recorded, machine)
    if differences:
        raise ExternalStepError(
            f"this plan does not fit this machine: {'; '.join(differences)}",
            hint="build it again here: tripoint build MODEL",
        ).within(subject=str(plan))
    here = os.environ if environment is None else environment
    for name, value in (recorded.get("environment") or {}).items():
        if here.get(name) != value:
            was = f"set to {value}" if value is not None else "not set"
            raise ExternalStepError(
                f"this plan was built with {name} {was}, and runs only that way",
                hint=f"{name}={value} in the environment before Python starts"
                if value is not None
                else f"unset {name} before Python starts",
            ).within(subject=str(plan))


def load(
    trt: Any,
    cudart: Any,
    content: bytes,
    emit: Emit,
    *,
    graphs: int = 0,
    poison: bool = False,
    on_context: OnContext = lambda _: None,
) -> Loaded:
    """Deserialize a plan and make a session. Code inside the plan is never run.

    Args:
        trt: The TensorRT module.
        cudart: ``cuda.bindings.runtime``.
        content: The plan.
        emit: Takes what TensorRT logs.
        graphs: How many CUDA graphs to keep.
        poison: Whether to fill outputs with 0xFF before each run.
        on_context: Takes each ``IExecutionContext`` before its first run.

    Raises:
        ExternalStepError: If there is no GPU, or TensorRT does not take the plan.
    """
    cuda = Cuda(cudart)
    logger = native.make_logger(trt, emit)
    runtime, engine = native.deserialize(trt, logger, content)
    session = Session(
        trt,
        cuda,
        engine,
        graphs=graphs,
        poison=poison,
        on_context=on_context,
        last_error=lambda: str(logger.last_error),
    )
    return Loaded(session, engine, runtime, logger)
