"""A 1-D pool of a squeezed 4-D tensor is a 2-D pool with kernel (k, 1).

    Unsqueeze(Pool1d(Squeeze(x, a)), b) = Transpose(Pool2d(Transpose(x, P)), Q)

for AveragePool, MaxPool and LpPool and their global forms. P takes the squeezed axis to the end, Q
takes it to where it is added; along it the kernel has size 1, stride 1 and no padding, so
``ceil_mode`` adds no window and ``count_include_pad`` counts nothing more. A global pool takes
that axis, of size 1, in with the others. The same operators and forms may stand around it as in
:mod:`tripoint.rewrites.lift_1d.conv1d_between_squeezes`, of which the conditions and the reason are
the same. MaxPool must not give its indices. A region that has a convolution, too, is left to the
rewrites of convolutions.
"""

from __future__ import annotations

from tripoint.rewrites.lift_1d import between_squeezes
from tripoint.rewrites.lift_1d.operators import CONVOLUTIONS, POOLS, TRANSPOSED_CONVOLUTIONS

_OTHERS = CONVOLUTIONS | TRANSPOSED_CONVOLUTIONS

REWRITE = between_squeezes.rewrite(
    name="pool1d-between-squeezes",
    title="Pool the 4-D tensor directly instead of squeezing it to 3-D and back",
    owns=lambda operators: bool(operators & POOLS) and not operators & _OTHERS,
)
