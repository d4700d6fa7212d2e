"""The groups of a recipe, a model a file; `configs/` has a folder of presets for each."""
