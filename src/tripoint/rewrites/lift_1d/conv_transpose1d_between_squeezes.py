"""A transposed 1-D convolution on a squeezed 4-D tensor is a 2-D one with kernel (k, 1).

    Unsqueeze(ConvTranspose1d(Squeeze(x, a), W), b)
        = Transpose(ConvTranspose2d(Transpose(x, P), W[..., None]), Q)

P takes the squeezed axis to the end, Q takes it to where it is added; along it the kernel has size
1, stride 1, no padding and no output padding, and an ``output_shape`` gets a 1. Bias, groups and
all attributes carry over, and the same operators and forms may stand around it as in
:mod:`tripoint.rewrites.lift_1d.conv1d_between_squeezes`, of which the conditions and the reason are
the same. A region that has a convolution, too, is left to that rewrite.
"""

from __future__ import annotations

from tripoint.rewrites.lift_1d import between_squeezes
from tripoint.rewrites.lift_1d.operators import CONVOLUTIONS, TRANSPOSED_CONVOLUTIONS

REWRITE = between_squeezes.rewrite(
    name="conv-transpose1d-between-squeezes",
    title="Deconvolve the 4-D tensor directly instead of squeezing it to 3-D and back",
    owns=lambda operators: (
        bool(operators & TRANSPOSED_CONVOLUTIONS) and not operators & CONVOLUTIONS
    ),
)
