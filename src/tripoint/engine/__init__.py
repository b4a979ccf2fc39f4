"""Everything that talks to TensorRT: finding it, parsing, building, running, in a child process."""
