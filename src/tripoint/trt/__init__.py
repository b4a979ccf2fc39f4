"""The process boundary: TensorRT runs in a child process, never in the user's."""
