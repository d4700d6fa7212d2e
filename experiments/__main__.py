"""`python -m experiments` is `pentarch`: for launchers that name an interpreter."""

from experiments.cli import main

main()
