"""A dim without a name gets one of its own.

    x: (?, 3, ?, ?), y: (?, 4)  =  x: (x_dim0, 3, x_dim2, x_dim3), y: (y_dim0, 4)

Holds always: names of dims are remarks. Names that say what a dim is stay, and so does one that
several dims share.

Why: TensorRT takes equal texts for equal sizes, and stops with "Input dimensions with this name
have different constant values" where a profile says otherwise. See
:mod:`tripoint.shape_inference.dim_names`.
"""

from __future__ import annotations

from tripoint.rewrites.base import Rewrite
from tripoint.shape_inference.dim_names import distinct

REWRITE = Rewrite(
    name="distinct-dims",
    title="Give dims without a name one of their own",
    may_match=lambda _: False,
    declared=distinct,
    clean_up=True,
)
