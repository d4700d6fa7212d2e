"""From a recipe to statements about arms. A room imports from rooms below it alone; the highest first:

commands    What a user types.
sweeps      Many runs as one experiment: described, registered, tuned, launched.
evaluation  A trained run is asked: likelihood, information flow, tasks in each mode, text.
training    One run: from a recipe to weights; it resumes where it was killed.
report      What the folders say: page, Markdown, LaTeX, terminal.
tracking    Where a run is followed: W&B, TensorBoard.
evidence    From rows of items to statements: metrics, intervals, tests, claims, audit. Needs no model.
runs        A run's folder: what is in it, where its weights come from, how it is read back.
budget      The shape and the steps of an arm, and the count of what it spends.
tasks       What a task is: kinds, rows, baselines. Needs no model.
data        Text in, token windows out: a pure function of (seed, step).
recipe      The typed, frozen description of one run, and the classes that its names mean.
storage     Files that are whole or not there; JSON and tables.

`make lint` checks the order (import-linter, in pyproject.toml).
"""
