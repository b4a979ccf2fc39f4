"""An operator that works element by element need not see a squeezed tensor.

    Unsqueeze(f(Squeeze(x, a)), b) = Transpose(f(x), Q)

for activations, arithmetic with constants and with other squeezed tensors, and operators along an
axis: Concat, Split, Softmax, Slice, Pad and Reduce operators that keep the axes. Axes are counted
anew, and constants get an axis of size 1 where they need it. The forms of the squeeze and the
conditions are those of :mod:`tripoint.rewrites.lift_1d.conv1d_between_squeezes`. A region that has
a convolution, a pool or a normalization is left to the rewrites of those, and one that only
permutes axes is no region.

Why: TensorRT 7.x makes every dim of a squeezed or unsqueezed tensor unknown as soon as one is.
"""

from __future__ import annotations

from tripoint.rewrites.lift_1d import between_squeezes
from tripoint.rewrites.lift_1d.operators import (
    CONVOLUTIONS,
    NORMALIZATIONS,
    POOLS,
    TRANSPOSED_CONVOLUTIONS,
)

_OTHERS = CONVOLUTIONS | TRANSPOSED_CONVOLUTIONS | POOLS | NORMALIZATIONS
_NOTHING = frozenset({"Transpose"})

REWRITE = between_squeezes.rewrite(
    name="elementwise-between-squeezes",
    title="Compute on the 4-D tensor directly instead of squeezing it to 3-D and back",
    owns=lambda operators: not operators & _OTHERS and not operators <= _NOTHING,
    near=False,
)
