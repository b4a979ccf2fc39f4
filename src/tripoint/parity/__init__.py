"""Comparing PyTorch, ONNX Runtime and TensorRT."""
