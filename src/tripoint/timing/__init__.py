"""Latency of PyTorch, ONNX Runtime and TensorRT, measured in turns."""
