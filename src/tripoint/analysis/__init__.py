"""Facts about tensors: true shapes, a TensorRT's view of them, and what was lost."""
