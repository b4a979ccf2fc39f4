"""PyTorch, ONNX Runtime and TensorRT compared on models from their own factories, on a GPU.

    python bench/gpu_verify.py [REFERENCE=INPUT ...] [--exporter dynamo] [--jobs N] [--record FILE]

Each model is exported with a dynamic batch, rewritten, and built before and after ``fix``; each
engine is compared with PyTorch and ONNX Runtime at the points of the range. Without arguments the
models are :data:`MODELS`, from torchvision and timm. Weights are random and then made such that no
signal dies, since nothing could be told apart behind it (:func:`revive`).

Exit code: 0 if every comparison is equal with all three legs; 1 if not; 2 usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import workers
from tripoint import api
from tripoint import model as models
from tripoint.errors import TripointError
from tripoint.parity.results import Verification
from tripoint.sources.torch_export import Exporter
from tripoint.spec import Spec

if TYPE_CHECKING:
    from torch import nn

SMALL, USUAL = "x:1..2..4x3x96x96", "x:1..2..4x3x224x224"
MODELS = {
    "torchvision.models:resnet18": SMALL,
    "torchvision.models:mobilenet_v3_small": SMALL,
    "torchvision.models:shufflenet_v2_x1_0": SMALL,
    "torchvision.models:squeezenet1_1": SMALL,
    "torchvision.models:efficientnet_b0": SMALL,
    "torchvision.models:densenet121": SMALL,
    "torchvision.models:regnet_y_400mf": SMALL,
    "torchvision.models:convnext_tiny": SMALL,
    "torchvision.models:swin_t": USUAL,
    "torchvision.models:vit_b_32": USUAL,
    "timm.models.resnet:ecaresnet26t": SMALL,
    "timm.models.levit:levit_128s": USUAL,
    "timm.models.efficientvit_mit:efficientvit_b0": USUAL,
    "timm.models.vision_transformer:vit_tiny_patch16_224": USUAL,
    "timm.models.mobilenetv3:mobilenetv3_small_050": SMALL,
    "timm.models.metaformer:poolformer_s12": SMALL,
}
"""Reference to PyTorch code, and its input."""

NEXT_TO_ZERO = 1e-3
BATCHES = 3
STAGES = ("exported graph", "fixed graph")


def compare(reference: str, given: str, exporter: Exporter) -> list[dict[str, Any]]:
    """Both engines of a model, compared."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    rows = []
    with tempfile.TemporaryDirectory(prefix="gpu-verify-") as name:
        folder = Path(name)
        try:
            module = api.as_torch(reference)
            revive(module.module, Spec.parse([given]).inputs[0].dims[1:])
            exported = api.export(
                module, folder / "model.onnx", spec=Spec.parse([given]), exporter=exporter
            )
            spec = Spec(dims=exported.symbols)
            result = api.fix(exported.model, spec=spec)
            fixed = models.save(result.model, folder / "fixed.onnx")
            for stage, source in zip(STAGES, (exported.model, fixed), strict=True):
                plan = folder / f"{stage.split()[0]}.plan"
                api.build(source, plan, spec=spec)
                found = api.verify(
                    exported.model, torch=module, fixed=fixed, engine=plan, spec=spec
                )
                counts = (result.before.nodes, result.after.nodes)
                rows.append({"model": reference, "stage": stage, "nodes": counts, **said(found)})
        except TripointError as error:
            rows.append({"model": reference, "stage": "-", "verdict": f"failed: {error}"})
    return rows


def revive(module: nn.Module, sizes: Sequence[Any]) -> None:
    """Give weights that are next to zero a size, and batch normalizations true statistics.

    Factories start heads, branches and layer scales at zero or close to it, and normalize by a
    mean of 0 and a variance of 1 whatever comes, behind which signals fade to 1e-14.

    Args:
        module: In evaluation mode, before and after.
        sizes: Of its input, without the batch.
    """
    import torch
    from torch import nn

    with torch.no_grad():
        for name, weights in module.named_parameters():
            if name.endswith("bias") or weights.abs().max() > NEXT_TO_ZERO:
                continue
            if weights.numel() == max(weights.shape):
                weights.fill_(0.5)
            else:
                weights.normal_(0.0, weights[0].numel() ** -0.5)
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                part.momentum = None
                part.reset_running_stats()
        module.train()
        for _ in range(BATCHES):
            module(torch.randn(8, *sizes))
        module.eval()


def said(found: Verification) -> dict[str, Any]:
    """What a comparison says of the engine."""
    entries = [each for point in found.points for each in point.outputs if "TensorRT" in each.pair]
    return {
        "verdict": found.verdict,
        "legs": {leg.name: leg.status for leg in found.legs},
        "points": len(found.points),
        "max_abs": max((each.max_abs or 0.0 for each in entries), default=None),
        "allowed": max((each.tolerance.atol for each in entries if each.tolerance), default=None),
        "reasons": list(found.reasons),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare and print."""
    parser = argparse.ArgumentParser(prog="gpu_verify.py", description="three legs, many models")
    parser.add_argument("models", nargs="*", metavar="REFERENCE=INPUT")
    parser.add_argument("--exporter", choices=("dynamo", "torchscript"), default="dynamo")
    parser.add_argument("--jobs", type=int, default=4, help="models at a time")
    parser.add_argument("--record", type=Path, help="write the rows here, one JSON object a line")
    options = parser.parse_args(arguments)
    chosen = dict(each.split("=", 1) for each in options.models) or MODELS
    rows: list[dict[str, Any]] = []
    print("| model | nodes | engine of | verdict | points | max abs | allowed (absolute) |")
    print("|---|---|---|---|---|---|---|")
    with workers.pool(options.jobs) as pool:
        names = [options.exporter] * len(chosen)
        for found in pool.map(compare, chosen, chosen.values(), names):
            rows += found
            for row in found:
                nodes = " -> ".join(map(str, row.get("nodes", "-")))
                numbers = (f"{row[key]:.2g}" if row.get(key) else "-" for key in KEYS)
                cells = (row["model"], nodes, row["stage"], row["verdict"], row.get("points", "-"))
                print(f"| {' | '.join(map(str, (*cells, *numbers)))} |", flush=True)
    if options.record:
        options.record.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    for row in rows:
        for reason in row.get("reasons", ()):
            print(f"{row['model']}, {row['stage']}: {reason}")
    return int(any(row["verdict"] != "equal" for row in rows))


KEYS = ("max_abs", "allowed")

if __name__ == "__main__":
    sys.exit(main())
