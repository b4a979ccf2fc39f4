"""A 1-D convolution on a squeezed 4-D tensor is a 2-D convolution with kernel (k, 1).

    Unsqueeze(Transpose(Conv1d(Transpose(Squeeze(x, a), p), W), q), b)
        = Transpose(Conv2d(Transpose(x, P), W[..., None]), Q)

With L the axes of ``x`` without ``a``, P is ``L`` permuted by ``p`` followed by ``a``: the
squeezed axis becomes the last one, of size 1, along which the kernel has size 1, stride 1 and no
padding. Q is ``q`` with that axis put back at position ``b``. Bias, groups, strides, dilations,
pads and auto_pad carry over. An identity P or Q emits no Transpose.

There may be any number of convolutions and other operators of
:mod:`tripoint.rewrites.lift_1d.operators` in between, also with branches that meet again, and
Reshape, Flatten or several operators in the place of Squeeze and Unsqueeze, or a Reduce operator
that drops the axes that it reduces.

Holds when what is squeezed and what comes out has rank 4, axes and weights are constant, all in
between has rank 3 and is read by nothing else, and ``Reshape`` only drops or adds an axis of size
1, for all sizes of the symbols.

Why: TensorRT 7.x makes every dim of a squeezed or unsqueezed tensor unknown as soon as one is,
evaluates no computed size of a Reshape, and every version adds a reshape before and after a 1-D
convolution.
"""

from __future__ import annotations

from tripoint.rewrites.lift_1d import between_squeezes
from tripoint.rewrites.lift_1d.operators import CONVOLUTIONS

REWRITE = between_squeezes.rewrite(
    name="conv1d-between-squeezes",
    title="Convolve the 4-D tensor directly instead of squeezing it to 3-D and back",
    owns=lambda operators: bool(operators & CONVOLUTIONS),
)
