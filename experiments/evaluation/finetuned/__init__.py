"""Tasks that a copy of the family is finetuned on: the same grid of trials for every family."""
