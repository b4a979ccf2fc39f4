"""True shapes: what ONNX says of the size of every tensor."""
