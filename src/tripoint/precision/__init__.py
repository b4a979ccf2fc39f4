"""Floating-point types that a network computes in, and their cost.

TensorRT-RTX and TensorRT from 10.12 on take the type of every layer from the graph, so a lower
precision is a change of the graph: :mod:`.lower` chooses the nodes, lets ONNX Runtime's converter
write the casts, and completes what that converter leaves out. :mod:`.rehearse` says in numbers what
it costs, :mod:`.evidence` what the network and the engine really have.
"""
