"""A model of the ONNX importer of TensorRT 7.x, after onnx-tensorrt release/7.0, 7.1 and 7.2.1.

Two parties compute shapes. The parser computes size operands itself, as vectors; it knows the
values of initializers and ``Constant`` nodes and the dims of any tensor, and one unknown element
spoils a whole vector (in 7.0 also an element that nobody asks for). The core computes the shapes
of layers; of a layer that takes its size as a tensor it prints -1 for every dim, since 7.x
evaluates no size operand before the build.

A real parser stops at its first error. The model notes a refusal and goes on as if the node were
written in the form that this version reads, so that the rest of the table is of use. Where it
cannot know that form, and for operators without an importer, it shows the true shape, with -1 for
each dim that is not an integer. If an input has lost dims there, an output of the true shape of
an input is taken to lose the same dims, and any other output to lose them all.
"""
