"""Attention blocks for images, in the forms in which they are written in practice."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

CHANNELS = 8


class EcaSqueeze(nn.Module):
    """ECA: squeeze, transpose, convolution over the channels, and back."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(self.pool(x).squeeze(-1).transpose(-1, -2))
        return x * torch.sigmoid(y.transpose(-1, -2).unsqueeze(-1)).expand_as(x)


class EcaView(nn.Module):
    """ECA: a mean that drops the axes, and views."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 5, padding=2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x.mean((2, 3)).view(x.shape[0], 1, -1)).sigmoid()
        return x * y.view(x.shape[0], -1, 1, 1).expand_as(x)


class EcaPermuted(nn.Module):
    """ECA: permuted before it is squeezed, unsqueezed before it is permuted."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.adaptive_avg_pool2d(x, 1).permute(0, 2, 1, 3).squeeze(-1)
        return x * torch.sigmoid(self.conv(y).unsqueeze(-1).permute(0, 2, 1, 3))


class EcaFlattened(nn.Module):
    """ECA: two convolutions with an activation between, all spatial axes dropped at once."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(1, 4, 3, padding=1)
        self.second = nn.Conv1d(4, 1, 3, padding=2, dilation=2)

    def forward(self, x: Tensor) -> Tensor:
        y = F.adaptive_avg_pool2d(x, 1).flatten(1).unsqueeze(1)
        y = self.second(F.relu(self.first(y)))
        return x * torch.sigmoid(y.squeeze(1)[:, :, None, None])


class Strip(nn.Module):
    """Attention over rows: 1-D convolution, normalization and activation over the height."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(CHANNELS, CHANNELS, 3, padding=1, groups=2)
        self.norm = nn.BatchNorm1d(CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        y = F.hardswish(self.norm(self.conv(x.mean(3))))
        return x * torch.sigmoid(y.unsqueeze(3))


class SeLinear(nn.Module):
    """Squeeze and excitation with linear layers and views."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Sequential(
            nn.Linear(CHANNELS, 2, bias=False),
            nn.ReLU(),
            nn.Linear(2, CHANNELS, bias=False),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        b, c, _, _ = x.size()
        y = self.fc(F.adaptive_avg_pool2d(x, 1).view(b, c)).view(b, c, 1, 1)
        return x * y.expand_as(x)


class SeConv(nn.Module):
    """Squeeze and excitation with convolutions of size 1."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(CHANNELS, 2, 1)
        self.expand = nn.Conv2d(2, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = x.mean((2, 3), keepdim=True)
        return x * torch.sigmoid(self.expand(F.relu(self.reduce(y)))).expand_as(x)


class GatherExcite(nn.Module):
    """Gather and excite: a depthwise convolution gathers, the gate is enlarged again."""

    def __init__(self) -> None:
        super().__init__()
        self.gather = nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1, groups=CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(F.interpolate(self.gather(x), size=x.shape[-2:], mode="nearest"))


class GatherExciteGlobal(nn.Module):
    """Gather and excite without parameters, over the whole image."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x.mean((2, 3), keepdim=True).expand_as(x))


class CbamChannel(nn.Module):
    """The channel attention of CBAM: one network for the mean and for the maximum."""

    def __init__(self) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Flatten(), nn.Linear(CHANNELS, 4), nn.ReLU(), nn.Linear(4, CHANNELS)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.mlp(F.adaptive_avg_pool2d(x, 1)) + self.mlp(F.adaptive_max_pool2d(x, 1))
        return x * torch.sigmoid(y).unsqueeze(2).unsqueeze(3).expand_as(x)


class CbamSpatial(nn.Module):
    """The spatial attention of CBAM: a convolution over the mean and the maximum of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.cat([x.amax(1).unsqueeze(1), x.mean(1).unsqueeze(1)], dim=1)
        return x * torch.sigmoid(self.conv(y)).expand_as(x)


class Coordinate(nn.Module):
    """Coordinate attention: rows and columns through one convolution, then a gate for each."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Conv2d(CHANNELS, 4, 1)
        self.norm = nn.BatchNorm2d(4)
        self.rows = nn.Conv2d(4, CHANNELS, 1)
        self.columns = nn.Conv2d(4, CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        h, w = x.shape[2], x.shape[3]
        y = torch.cat([x.mean(3, keepdim=True), x.mean(2, keepdim=True).permute(0, 1, 3, 2)], 2)
        rows, columns = torch.split(F.hardswish(self.norm(self.shared(y))), [h, w], dim=2)
        gate = torch.sigmoid(self.columns(columns.permute(0, 1, 3, 2)))
        return x * torch.sigmoid(self.rows(rows)) * gate


class Net(nn.Module):
    """A block between two convolutions; takes an image ``x`` (N, 3, H, W)."""

    def __init__(self, block: type[nn.Module]) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, CHANNELS, 3, padding=1)
        self.block = block()
        self.second = nn.Conv2d(CHANNELS, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.block(self.first(x)))


eca_squeeze = partial(Net, EcaSqueeze)
eca_view = partial(Net, EcaView)
eca_permuted = partial(Net, EcaPermuted)
eca_flattened = partial(Net, EcaFlattened)
strip = partial(Net, Strip)
se_linear = partial(Net, SeLinear)
se_conv = partial(Net, SeConv)
gather_excite = partial(Net, GatherExcite)
gather_excite_global = partial(Net, GatherExciteGlobal)
cbam_channel = partial(Net, CbamChannel)
cbam_spatial = partial(Net, CbamSpatial)
coordinate = partial(Net, Coordinate)
