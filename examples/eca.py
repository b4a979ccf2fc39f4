"""Efficient channel attention between two convolutions: the model this project began with.

The attention goes through three dimensions: squeeze, transpose, a 1-D convolution over the
channels, and back. Its ``expand_as`` takes a size from a tensor, and there an old TensorRT stops
knowing the shape.

    tripoint run examples/eca.py:model --input x:1x3x5x5 -o out/
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class EfficientChannelAttention(nn.Module):
    """Scales each channel by a weight that it computes from its neighbours.

    Args:
        kernel: How many neighbouring channels decide a weight; odd.
    """

    def __init__(self, kernel: int = 3) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv1d(1, 1, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.pool(x)
        y = self.conv(y.squeeze(-1).transpose(-1, -2))
        y = y.transpose(-1, -2).unsqueeze(-1)
        return x * torch.sigmoid(y).expand_as(x)


class Net(nn.Module):
    """Convolution, attention, convolution; takes an image ``x`` (N, 3, H, W)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, padding=1, bias=False)
        self.attention = EfficientChannelAttention()
        self.second = nn.Conv2d(5, 5, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.attention(self.first(x)))


def model() -> Net:
    """The network with random weights."""
    return Net()
