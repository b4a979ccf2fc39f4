"""Running a plan in this process: its profile, its memory, its streams.

Everything that decides (``tensors``, ``select_profile``, ``caller_buffers``, ``graphs``) is plain
Python over what an engine says of itself; ``device`` and ``contexts`` are the thin layer that calls
CUDA and TensorRT. ``engine`` is the public class, and ``core`` what both it and the child process
of ``verify`` execute with.
"""
