"""``python -m tripoint``."""

from tripoint.cli import main

main()
