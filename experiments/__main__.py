"""Makes `python -m experiments` the same as `pentarch`, for launchers that name a Python interpreter."""

from experiments.cli import main

main()
