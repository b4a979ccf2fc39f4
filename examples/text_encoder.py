"""A small text encoder: two inputs of different dtype, masked attention, a pooled output.

``ids`` must stay inside the vocabulary and ``mask`` is 0 or 1, so random numbers will not do as
inputs; ``verify`` finds the vocabulary in the graph.

    tripoint run examples/text_encoder.py:model -o out/
    tripoint run examples/text_encoder.py:model --input ids:Nx12 --input mask:Nx12 \
        --dim N=1..2..8 -o out/
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

VOCABULARY = 101
LENGTH = 12


class Block(nn.Module):
    """Masked self-attention and a feed-forward network, norms after the shortcuts."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self.norm1 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)
        self.norm2 = nn.LayerNorm(width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        q, k, v = (self.split(layer(x)) for layer in (self.query, self.key, self.value))
        scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5 + bias
        y = (torch.softmax(scores, dim=-1) @ v).transpose(1, 2).flatten(2)
        x = self.norm1(x + self.out(y))
        return self.norm2(x + self.down(functional.gelu(self.up(x))))

    def split(self, x: Tensor) -> Tensor:
        """Split the width into heads: (N, length, width) to (N, heads, length, width/heads)."""
        batch, length, width = x.shape
        return x.view(batch, length, self.heads, width // self.heads).transpose(1, 2)


class TextEncoder(nn.Module):
    """Takes token ids and a mask, both (N, length), gives one vector for each text (N, width)."""

    def __init__(self, width: int = 32, heads: int = 4, depth: int = 2) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, width)
        self.positions = nn.Embedding(LENGTH, width)
        self.norm = nn.LayerNorm(width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))

    def forward(self, ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
        positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.norm(self.words(ids) + self.positions(positions))
        bias = (1.0 - mask[:, None, None, :].to(x.dtype)) * -1e4
        for block in self.blocks:
            x = block(x, bias)
        weights = mask.to(x.dtype).unsqueeze(-1)
        return {"pooled": (x * weights).sum(1) / weights.sum(1).clamp(min=1.0)}


def model() -> tuple[TextEncoder, dict[str, Tensor]]:
    """The network, and two texts of which the second is shorter."""
    ids = torch.randint(0, VOCABULARY, (2, LENGTH))
    mask = torch.ones(2, LENGTH, dtype=torch.int64)
    mask[1, 7:] = 0
    return TextEncoder(), {"ids": ids, "mask": mask}
