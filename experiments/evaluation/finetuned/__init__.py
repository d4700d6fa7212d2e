"""Tasks for which a copy of the family is finetuned, with the same grid of trials for every family."""
