"""A normalization of a squeezed 4-D tensor is one of the 4-D tensor.

    Unsqueeze(Norm(Squeeze(x, a)), b) = Transpose(Norm(Transpose(x, P)), Q)

for BatchNormalization, whose parameters belong to channels, and InstanceNormalization, whose mean
and variance are over all spatial axes, of which one more has size 1. P takes the squeezed axis to
the end, Q takes it to where it is added. The same operators and forms may stand around it as in
:mod:`tripoint.rewrites.lift_1d.conv1d_between_squeezes`, of which the conditions are the same. A
region that has a convolution or a pool, too, is left to the rewrites of those.

Why: TensorRT 7.x and 8.x unsqueeze and squeeze BatchNormalization of rank 3, after which 7.x
knows no dim as soon as one is unknown; InstanceNormalization needs rank 3 or 4 in 7.2 and no
unknown dim in 7.0 and 7.1.
"""

from __future__ import annotations

from tripoint.rewrites.lift_1d import between_squeezes
from tripoint.rewrites.lift_1d.operators import (
    CONVOLUTIONS,
    NORMALIZATIONS,
    POOLS,
    TRANSPOSED_CONVOLUTIONS,
)

_OTHERS = CONVOLUTIONS | TRANSPOSED_CONVOLUTIONS | POOLS

REWRITE = between_squeezes.rewrite(
    name="norm1d-between-squeezes",
    title="Normalize the 4-D tensor directly instead of squeezing it to 3-D and back",
    owns=lambda operators: bool(operators & NORMALIZATIONS) and not operators & _OTHERS,
)
