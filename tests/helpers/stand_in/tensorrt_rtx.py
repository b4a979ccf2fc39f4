"""A stand-in for TensorRT that has every option and can be told to misbehave.

It builds nothing: a plan is a line of text. What ``STAND_IN`` names is done while it "builds":
``sleep``, ``crash``, ``exhaust``, ``exit``, or ``say:TEXT`` for an error with that text. What is
in ``STAND_IN_LACKS``, separated by spaces, it does not have.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import signal
import time
import types
import warnings
from pathlib import Path

__version__ = "99.1"
LACKS = os.environ.get("STAND_IN_LACKS", "").split()
BEHAVIOUR = os.environ.get("STAND_IN", "")
float32 = None


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def __init__(self):
        pass


BuilderFlag = enum.IntEnum(
    "BuilderFlag",
    [
        name
        for name in ("TF32", "VERSION_COMPATIBLE", "REFIT", "STRIP_PLAN", "DISABLE_TIMING_CACHE")
        if name not in LACKS
    ],
)
MemoryPoolType = enum.IntEnum("MemoryPoolType", ["WORKSPACE", "TACTIC_DRAM"])
NetworkDefinitionCreationFlag = enum.IntEnum("NetworkDefinitionCreationFlag", ["EXPLICIT_BATCH"])
HardwareCompatibilityLevel = enum.Enum("HardwareCompatibilityLevel", ["NONE", "AMPERE_PLUS"])
ElementWiseOperation = enum.Enum("ElementWiseOperation", ["SUM"])
TensorType = enum.Enum("TensorType", ["FLOAT", "INT64"])
LayerType = enum.Enum("LayerType", ["CONVOLUTION"])
ProfilingVerbosity = enum.Enum("ProfilingVerbosity", ["DETAILED"])


class IProgressMonitor:
    def __init__(self):
        pass

    def phase_start(self, phase, parent, steps):
        pass

    def step_complete(self, _phase, _step):
        return True

    def phase_finish(self, phase):
        pass


class Tensor:
    def __init__(self, name, shape, dtype=TensorType.FLOAT, *, is_shape_tensor=False):
        self.name, self.shape, self.dtype = name, shape, dtype
        self.is_shape_tensor = is_shape_tensor


class Network:
    num_layers = 1

    def __init__(self):
        self.inputs, self.outputs = [], []
        self.num_inputs = self.num_outputs = 0

    def get_input(self, index):
        return self.inputs[index]

    def get_output(self, index):
        return self.outputs[index]

    def get_layer(self, _index):
        return types.SimpleNamespace(
            name="all",
            type=LayerType.CONVOLUTION,
            metadata="",
            num_inputs=self.num_inputs,
            num_outputs=self.num_outputs,
            get_input=self.get_input,
            get_output=self.get_output,
        )

    def add_input(self, name, _dtype, shape):
        return Tensor(name, shape)

    def add_constant(self, shape, _weights):
        return types.SimpleNamespace(get_output=lambda _: Tensor("constant", shape))

    def add_elementwise(self, first, _second, _operation):
        return types.SimpleNamespace(get_output=lambda _: first)

    def mark_output(self, tensor):
        pass


def Weights(array):  # noqa: N802 - TensorRT's own name
    return array


class TimingCache:
    def __init__(self, content):
        self.times = set(json.loads(content)) if content else set()

    def combine(self, other, _ignore_mismatch):
        self.times |= other.times
        return True

    def serialize(self):
        return json.dumps(sorted(self.times)).encode()


class Config:
    def __init__(self, log):
        self.log = log
        self.flags, self.pools, self.profiles = {"TF32"}, {}, []
        self.cache = None
        if "builder_optimization_level" not in LACKS:
            self.builder_optimization_level = 3
        if "hardware_compatibility_level" not in LACKS:
            self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        self.progress_monitor = None

    def set_flag(self, flag):
        self.flags.add(flag.name)

    def clear_flag(self, flag):
        self.flags.discard(flag.name)

    def get_flag(self, flag):
        return flag.name in self.flags and f"{flag.name}:set" not in LACKS

    def set_memory_pool_limit(self, pool, size):
        self.pools[pool] = size

    def get_memory_pool_limit(self, pool):
        return self.pools.get(pool, 0)

    def create_timing_cache(self, content):
        with contextlib.suppress(ValueError):
            return TimingCache(content)
        self.log(ILogger.Severity.WARNING, "this is no timing cache")
        return None

    def set_timing_cache(self, cache, _ignore_mismatch):
        self.cache = cache
        return True

    def get_timing_cache(self):
        if "timing_cache" in LACKS:
            warnings.warn("Timing cache operations are no-ops.", DeprecationWarning, stacklevel=2)
        return self.cache

    def add_optimization_profile(self, profile):
        self.profiles.append(profile)
        return len(self.profiles) - 1


class Profile:
    def __init__(self):
        self.set = {}

    def set_shape(self, name, *ends):
        self.set[name] = ["shape", *ends]

    def set_shape_input(self, name, *ends):
        self.set[name] = ["values", *ends]


class Builder:
    def __init__(self, logger):
        self.log = logger.log

    def create_network(self, _flags):
        return Network()

    def create_builder_config(self):
        return Config(self.log)

    def create_optimization_profile(self):
        return Profile()

    def build_serialized_network(self, network, config):
        if not network.num_outputs:
            return None if "trial" in LACKS else b"one layer"
        monitor = config.progress_monitor or IProgressMonitor()
        monitor.phase_start("Building engine", None, 2)
        monitor.phase_start("Timing", "Building engine", 3)
        monitor.step_complete("Timing", 0)
        if config.cache is not None:
            config.cache.times.add(os.environ.get("STAND_IN_TIME", "a"))
        built = self.behave()
        monitor.phase_finish("Timing")
        monitor.phase_finish("Building engine")
        facts = {"profiles": [p.set for p in config.profiles], "flags": sorted(config.flags)}
        return json.dumps(facts).encode() if built else None

    def behave(self):
        if BEHAVIOUR == "sleep":
            time.sleep(60)
        elif BEHAVIOUR == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        elif BEHAVIOUR == "exhaust":
            raise MemoryError
        elif BEHAVIOUR == "exit":
            os._exit(7)
        elif BEHAVIOUR.startswith("say:"):
            self.log(ILogger.Severity.ERROR, BEHAVIOUR.removeprefix("say:"))
            return False
        return True


class OnnxParser:
    num_errors = 0

    def __init__(self, network, logger):
        self.network, self.log = network, logger.log

    def parse_from_file(self, path):
        import onnx_ir as ir

        graph = ir.load(path).graph
        network = self.network
        network.inputs = [_tensor(value) for value in graph.inputs]
        network.outputs = [_tensor(value) for value in graph.outputs]
        network.num_inputs, network.num_outputs = len(network.inputs), len(network.outputs)
        return True


def _tensor(value):
    shape = [size if isinstance(size, int) else -1 for size in value.shape]
    kind = TensorType.FLOAT if value.dtype.is_floating_point() else TensorType.INT64
    return Tensor(value.name, shape, kind, is_shape_tensor=value.name.startswith("size"))


class _Registry:
    def __init__(self):
        self.all_creators = []

    def load_library(self, path):
        return object() if Path(path).read_bytes().startswith(b"plugin") else None


_REGISTRY = _Registry()


def get_plugin_registry():
    return _REGISTRY
