"""Search for the node at which two legs part.

``legs`` says what a leg must be able to do, and there is one file for each kind. ``scan`` compares
tensors in graph order, ``search`` tells the part that makes an error from those that pass it on,
``bisect`` narrows a part down. They know nothing of PyTorch, ONNX Runtime or TensorRT.
"""
