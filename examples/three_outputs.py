"""Three outputs, two of the same shape: the case in which an engine's outputs get mixed up.

``boxes`` and ``anchors`` differ in their values only, so only their names tell them apart.

    tripoint verify out/model.onnx --torch examples/three_outputs.py:model
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Detector(nn.Module):
    """Takes an image ``x`` (N, 3, 16, 16); gives boxes, scores and anchors for 16 places."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Conv2d(3, 8, 3, stride=4, padding=1)
        self.boxes = nn.Conv2d(8, 4, 1)
        self.scores = nn.Conv2d(8, 3, 1)
        self.anchors = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        y = torch.relu(self.trunk(x))
        return {
            "boxes": self.boxes(y).flatten(2).transpose(1, 2),
            "scores": torch.softmax(self.scores(y).flatten(2).transpose(1, 2), dim=-1),
            "anchors": self.anchors(y).flatten(2).transpose(1, 2),
        }


def model() -> tuple[Detector, Tensor]:
    """The network and an example image."""
    return Detector(), torch.randn(1, 3, 16, 16)
