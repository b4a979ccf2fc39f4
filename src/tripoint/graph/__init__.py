"""Names, subgraphs, source lines and operator families of ONNX graphs."""
