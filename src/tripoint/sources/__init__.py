"""Where a model comes from: an ONNX file, or PyTorch through an exporter."""
