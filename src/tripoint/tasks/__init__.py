"""Tasks of the child process, one module a task; each has ``run(request, emit)``."""
