"""Trains the recipes of a folder in turn, as one of the processes that train each of them together."""

import sys
from pathlib import Path

from experiments.recipe.recipe import Recipe
from experiments.training.train import train

if __name__ == "__main__":
    for file in sorted(Path(sys.argv[1]).glob("*.yaml")):
        train(Recipe.from_yaml(file), file.with_suffix(""))
