"""Models of PyTorch for ``bench/verdicts.py``, each exported by both exporters of PyTorch.

The older one traces TorchScript, the newer one ``torch.export``. Both write the same function with
the same weights as other operators: the file of the newer one is a right twin.
"""

from __future__ import annotations

import functools
import io
import logging
import warnings
from collections.abc import Callable
from typing import Any

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional

from verdict_models import KINDS, Kind
from verdict_net import Net

OPSET = 18


class Exported:
    """One module as two graphs.

    Args:
        module: The module.
        example: What it reads; the first axis is dynamic.
    """

    def __init__(self, module: nn.Module, example: Tensor) -> None:
        self._module, self._example = module.eval(), example

    def proto(self) -> onnx.ModelProto:
        """The graph of the older exporter, whose weights are called as those of other models."""
        proto = self._export(dynamo=False, dynamic_axes={"x": {0: "N"}})
        names = {each.name: f"w{at}" for at, each in enumerate(proto.graph.initializer)}
        for tensor in proto.graph.initializer:
            tensor.name = names[tensor.name]
        for index, node in enumerate(proto.graph.node):
            node.name = f"{node.op_type}_{index}"
            node.input[:] = [names.get(name, name) for name in node.input]
        return proto

    def other(self) -> onnx.ModelProto:
        """The graph of the newer one."""
        return self._export(dynamo=True, dynamic_shapes=({0: torch.export.Dim("N")},))

    def _export(self, **options: Any) -> onnx.ModelProto:
        logging.disable(logging.WARNING)
        file = io.BytesIO()
        more: dict[str, Any] = {"verbose": False} if options["dynamo"] else {}
        more |= options
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            made = torch.onnx.export(
                self._module,
                (self._example,),
                None if options["dynamo"] else file,  # type: ignore[arg-type] # a file is taken as well
                input_names=["x"],
                output_names=["y"],
                opset_version=OPSET,
                **more,
            )
        logging.disable(logging.NOTSET)
        return made.model_proto if made is not None else onnx.load_from_string(file.getvalue())


class Squeezed(nn.Module):
    """Efficient channel attention behind a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.along = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Channels weighted by their neighbours."""
        x = functional.silu(self.norm(self.conv(x)))
        weight = self.along(x.mean((2, 3)).unsqueeze(1)).sigmoid()
        return x * weight.transpose(1, 2).unsqueeze(-1)


class Attends(nn.Module):
    """A layer of an encoder over embedded numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.norm = nn.Embedding(32, 16), nn.LayerNorm(16)
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)

    def forward(self, x: Tensor) -> Tensor:
        """Masked attention with two heads."""
        h = self.norm(self.table(x))
        q, k, v = (
            each.unflatten(-1, (2, 8)).transpose(1, 2) for each in self.qkv(h).chunk(3, dim=-1)
        )
        made = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return h + self.out(made.transpose(1, 2).flatten(2))


class Last(nn.Module):
    """The first output of a recurrent module."""

    def __init__(self, of: nn.Module) -> None:
        super().__init__()
        self.of = of

    def forward(self, x: Tensor) -> Tensor:
        """Without the last states."""
        return self.of(x)[0]


class Upscaled(nn.Module):
    """Normalized groups, resized."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 8, 3, padding=1), nn.GroupNorm(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Twice as large."""
        x = functional.gelu(self.norm(self.conv(x)))
        return functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class Statistics(nn.Module):
    """Functions that the exporters take apart in ways of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        """A normalized row, its sums, and the logarithm of a softmax."""
        x = functional.softplus(self.linear(x))
        x = (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-5)
        return functional.log_softmax(x.cumsum(-1), -1) + functional.elu(x)


MODULES: dict[str, tuple[str, Callable[[], nn.Module], tuple[int, ...]]] = {
    "exported_cnn": (
        "convolutions",
        lambda: nn.Sequential(
            *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(8, 16, 3), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            nn.Linear(16, 10),
        ),
        (3, 12, 12),
    ),
    "exported_eca": ("convolutions", Squeezed, (3, 8, 8)),
    "exported_decoder": (
        "normalizations",
        lambda: nn.Sequential(
            *(nn.ConvTranspose2d(4, 8, 2, stride=2), nn.InstanceNorm2d(8, affine=True)),
            *(nn.LeakyReLU(0.1), nn.Conv2d(8, 3, 3, padding=1, padding_mode="reflect"), nn.Tanh()),
        ),
        (4, 6, 6),
    ),
    "exported_groups": ("resizes", Upscaled, (4, 7, 7)),
    "exported_attention": ("transformers", Attends, (9,)),
    "exported_mlp": (
        "transformers",
        lambda: nn.Sequential(
            *(nn.Linear(24, 48), nn.GELU(), nn.Linear(48, 24), nn.LayerNorm(24)),
            *(nn.GELU(approximate="tanh"), nn.Linear(24, 6), nn.Softmax(-1)),
        ),
        (5, 24),
    ),
    "exported_gru": ("recurrent", lambda: Last(nn.GRU(6, 8, batch_first=True)), (7, 6)),
    "exported_lstm": ("recurrent", lambda: Last(nn.LSTM(6, 8, batch_first=True)), (5, 6)),
    "exported_statistics": ("slopes", Statistics, (6, 12)),
}
"""By name the kind of model, what makes it, and the shape of what it reads without the batch."""


@functools.cache
def exported(name: str) -> Exported:
    """One of them, with weights that depend on its name."""
    _, make, shape = MODULES[name]
    torch.manual_seed(len(name))
    module = make()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            # The variance first, as the figures were drawn.
            buffers = dict(layer.named_buffers())
            nn.init.uniform_(buffers["running_var"], 0.5, 1.5)
            nn.init.normal_(buffers["running_mean"], 0.0, 0.2)
    words = isinstance(module, Attends)
    size = (2, *shape)
    return Exported(module, torch.randint(32, size) if words else torch.randn(size))


def _kind(name: str) -> Kind:
    def make(_: Net) -> Any:
        return exported(name)

    return Kind(name, MODULES[name][0], make, opset=OPSET)


KINDS.extend(map(_kind, MODULES))
