"""Sources of a model: an ONNX file, or PyTorch through an exporter."""
