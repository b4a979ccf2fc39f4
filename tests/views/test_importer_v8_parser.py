"""The model of TensorRT 10.1 against the real parser that is installed: TensorRT-RTX 1.6.1.

Its parser goes back to 10.x; so far only ReduceLogSumExp is known to give another shape there.
"""

from __future__ import annotations

import sys
import tarfile
from pathlib import Path

import pytest

import disagreement
from models import with_weights
from tests.helpers.graphs import build
from tests.helpers.marks import needs_rtx
from tests.helpers.paths import ARCHIVE
from tripoint.shape_inference import truth
from tripoint.views import importers, installed

pytestmark = needs_rtx

# Facts about sizes: over dims N, M and K, and what the difference of two expressions is known to
# be. None: not known to be a number. Written as assignments that end in ``d``.
ALGEBRA: list[tuple[str, int | None]] = [
    ("a = Add(n, m); b = Sub(a, n); d = Sub(b, m)", 0),
    ("a = Mul(n, m); b = Mul(m, n); d = Sub(a, b)", 0),
    ("a = Mul(n, c4); b = Add(n, n); c = Mul(b, c2); d = Sub(a, c)", 0),
    ("a = Mul(n, c4); b = Add(a, c2); c = Div(b, c2); e = Sub(c, n); d = Sub(e, n)", 1),
    ("a = Mul(n, m); b = Div(a, n); d = Sub(b, m)", None),
    ("a = Add(n, c1); b = Mul(a, c6); c = Div(b, a); d = Identity(c)", 6),
    ("a = Div(n, c2); b = Div(a, c2); c = Div(n, c4); d = Sub(b, c)", 0),
    ("a = Div(n, c2); b = Add(a, c1); c = Div(b, c2); e = Add(n, c2); f = Div(e, c4); "
     "d = Sub(c, f)", 0),
    ("a = Mul(n, c6); b = Div(a, c4); c = Mul(n, c3); e = Div(c, c2); d = Sub(b, e)", None),
    ("a = Add(n, c1); b = Div(a, c2); c = Div(n, c2); d = Sub(b, c)", None),
    ("a = Mod(n, c2); b = Max(a, c1); d = Identity(b)", 1),
    ("a = Max(n, c0); d = Sub(a, n)", 0),
    ("a = Max(n, c1); d = Sub(a, n)", None),
    ("a = Max(n, m); b = Max(m, n); d = Sub(a, b)", 0),
    ("a = Max(n, m); b = Min(a, n); d = Sub(b, n)", 0),
    ("a = Add(n, c2); b = Max(a, n); d = Sub(b, n)", 2),
    ("a = Add(n, m); b = Max(a, n); d = Sub(b, a)", None),
    ("a = Max(n, c2); b = Max(a, c4); c = Max(n, c4); d = Sub(b, c)", 0),
    ("a = Add(n, c2); b = Add(m, c2); c = Max(a, b); e = Max(n, m); d = Sub(c, e)", None),
    ("a = Max(n, c1); b = Min(n, c1); c = Mul(a, b); d = Sub(c, n)", 0),
    ("a = Min(n, c1); b = Mul(n, a); d = Sub(b, n)", 0),
    ("a = Add(n, c1); b = Add(m, c1); c = Mul(a, b); e = Mul(n, m); f = Sub(c, e); g = Sub(f, n);"
     "d = Sub(g, m)", None),
    ("a = Equal(n, m); b = Where(a, n, n); d = Sub(b, n)", None),
    ("a = Add(n, c1); b = Equal(a, n); c = Where(b, m, n); d = Sub(c, n)", 0),
    ("a = Greater(n, c0); b = Greater(n, c0); c = And(a, b); e = Where(c, n, m); "
     "f = Where(a, n, m); d = Sub(e, f)", 0),
    ("a = GreaterOrEqual(n, c0); b = Where(a, c1, n); d = Sub(b, c1)", None),
    ("a = Cast<to=6>(n); b = Cast<to=7>(a); d = Sub(b, n)", 0),
    ("a = Cast<to=1>(n); b = Cast<to=7>(a); d = Sub(b, n)", None),
    ("a = Cast<to=1>(n); b = Cast<to=7>(a); e = Cast<to=1>(n); c = Cast<to=7>(e); d = Sub(b, c)",
     0),
    ("a = ReduceProd(s); b = Mul(n, m); c = Mul(b, c6); d = Sub(a, c)", 0),
    ("u = Unsqueeze(x, c0); a = Shape(u); b = Gather(a, c1); d = Sub(b, n)", 0),
    ("e = Concat<axis=0>(x, x); a = Shape(e); b = Gather(a, c0); c = Add(n, n); d = Sub(b, c)", 0),
    ("e = Slice(x, c1, big, c0); a = Shape(e); b = Gather(a, c0); c = Sub(n, c1); f = Max(c, c0); "
     "d = Sub(b, f)", 0),
    ("e = Slice(x, c0, c4, c0); a = Shape(e); b = Gather(a, c0); c = Min(n, c4); d = Sub(b, c)",
     0),
    ("e = Concat<axis=0>(m, n, c6); f = Reshape(x, e); a = Shape(f); b = Gather(a, c0); "
     "d = Sub(b, m)", None),
    ("e = Concat<axis=0>(m, n, c6); f = Reshape<allowzero=1>(x, e); a = Shape(f); "
     "b = Gather(a, c0); d = Sub(b, m)", 0),
    ("e = Concat<axis=0>(m, w1, c6); f = Reshape<allowzero=1>(x, e); a = Shape(f); "
     "b = Gather(a, c1); d = Sub(b, n)", 0),
    ("e = Slice(z, c0, m, c0); f = Add(z, e); a = Shape(f); b = Gather(a, c0); d = Sub(b, n)",
     None),
    ("e = Slice(z, c0, c2, c0); f = Add(z, e); a = Shape(f); b = Gather(a, c0); d = Sub(b, n)", 0),
    ("e = Concat<axis=0>(m, k); f = ConstantOfShape(e); g = Add(f, z); h = Add(g, f); "
     "a = Shape(g); b = Gather(a, c0); c = Shape(h); i = Gather(c, c0); d = Sub(b, i)", 0),
]  # fmt: skip


def test_sizes_are_computed_alike() -> None:
    """One model with all expressions, each shown as the size of a tensor, plus 100."""
    parts, expected = [], {}
    names = {"x", "z", "n", "m", "k", "s", "big", "w1", *(f"c{value}" for value in range(7))}
    for index, (steps, difference) in enumerate(ALGEBRA):
        for line in steps.split(";"):
            left, _, right = line.strip().partition(" = ")
            operator, _, operands = right.partition("(")
            renamed = [
                each if each in names else f"{each}_{index}"
                for each in operands.rstrip(")").split(", ")
            ]
            parts.append(f"{left}_{index} = {operator}({', '.join(renamed)})")
        parts.append(f"e{index} = Add(d_{index}, hundred); y{index} = ConstantOfShape(e{index})")
        expected[f"y{index}"] = (-1,) if difference is None else (100 + difference,)
    constants = ", ".join(f"int64[1] c{value} = {{{value}}}" for value in range(7))
    inputs = (
        f"float[N,M,6] x, float[N,K] z | {constants}, int64[1] w1 = {{-1}}, "
        "int64[1] hundred = {100}, int64[1] big = {9223372036854775807}"
    )
    start = "s = Shape(x); n = Gather(s, c0); m = Gather(s, c1); v = Shape(z); k = Gather(v, c1)"
    outputs = ", ".join(f"float[L{index}] y{index}" for index in range(len(ALGEBRA)))
    model = build(inputs, f"{start}; {'; '.join(parts)}", 17, outputs)
    for shapes in (installed.view(model).shapes, importers.view(model, {}, "10.1").shapes):
        assert {name: shapes[name] for name in expected} == expected


def test_a_difference_that_the_versions_explain() -> None:
    model = build(
        "float[N,4,5] x | int64[1] a = {1}", "y = ReduceLogSumExp(x, a)", 18, "float[N,1,5] y"
    )
    true = truth.infer(model.ir).shapes
    assert importers.view(model, true, "10.1").shapes["y"] == (1, 1, 1)
    assert installed.view(model).shapes["y"] == (-1, 1, 5)


@pytest.mark.parametrize("length", ["4", "S"])
def test_scan_is_seen_alike(length: str) -> None:
    model = build(
        f"float[3] i, float[{length},3] x",
        """y, z = Scan <num_scan_inputs = 1, body = b (float[3] s, float[3] row) =>
           (float[3] t, float[3] o) { t = Add(s, row) o = Relu(t) }> (i, x); q = Relu(z)""",
        17,
        f"float[3] y, float[{length},3] q",
    )
    seen = importers.view(model, truth.infer(model.ir).shapes, "10.1").shapes
    assert seen == installed.view(model).shapes
    assert seen["q"] == (-1 if length == "S" else 4, 3)


MODELS = ("bert6.ts_dyn", "bert6.dynamo_dyn", "llama_tiny.dynamo_dyn", "t5_enc.ts_dyn", "eca.ts")
LOST = {"bert6.ts_dyn": 6, "bert6.dynamo_dyn": 102, "llama_tiny.dynamo_dyn": 2, "t5_enc.ts_dyn": 3}


@pytest.mark.skipif(not ARCHIVE.exists(), reason=f"no {ARCHIVE.name} beside the project")
def test_real_models_are_seen_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with tarfile.open(ARCHIVE) as archive:
        wanted = [each for each in archive.getmembers() if Path(each.name).stem in MODELS]
        archive.extractall(tmp_path, members=wanted, filter="data")
    paths = sorted(tmp_path.rglob("*.onnx"))
    assert len(paths) == len(MODELS)
    for path in paths:
        folder = tmp_path / f"{path.stem}.weights"
        folder.mkdir()
        result = disagreement.compare(with_weights(path, folder), "10.1")
        assert (result.starts, result.unseen) == ([], 0)
        assert result.compared == result.equal
        assert result.lost == (LOST.get(path.stem, 0),) * 2
    assert disagreement.main([str(paths[0])]) == 0
    assert "1 models" in capsys.readouterr().out
    sys.modules.pop("disagreement")
