"""What the child process can do, one module a task; each has ``run(request, emit)``."""
