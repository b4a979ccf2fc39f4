"""A model of the ONNX importers of TensorRT 8.0 to 10.1, after onnx-tensorrt release/8.0 to 10.1.

The parser builds layers for every size that it does not know, and the core computes the sizes of
all layers while the network is built: element by element, with symbolic expressions for the dims
that are not known (:mod:`algebra`). It prints -1 where the normal form of an expression is not an
integer. How the core computes was found by experiment with TensorRT-RTX 1.6.1, whose parser goes
back to 10.x; what the versions differ in is read from the source of their parsers.

As in :mod:`~tripoint.views.importer_v7`, a refusal is noted and the import goes on.
"""
