"""Running an ONNX graph in ONNX Runtime: sessions, generated inputs, reduction lengths."""
