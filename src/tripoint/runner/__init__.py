"""Running a plan in this process: what holds its shapes, where its memory lies, when it is done.

Everything that decides (``tensors``, ``fitting``, ``given``, ``graphs``) is plain Python over what
an engine says of itself; ``device`` and ``contexts`` are the thin layer that calls CUDA and
TensorRT. ``engine`` is the public class, and ``core`` what both it and the child process of
``verify`` execute with.
"""
