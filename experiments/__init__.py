"""Takes a recipe to statements about arms. A room imports only from rooms below it; the highest first:

commands    The commands that a user types.
sweeps      Many runs as one experiment: described, registered, tuned, launched.
evaluation  Measures a trained run: likelihood, information flow, tasks in each mode, text.
training    Trains one run, from a recipe to weights; resumes a run that was killed.
report      Writes what the folders hold: page, Markdown, LaTeX, terminal.
tracking    Shows a run while it trains: W&B, TensorBoard.
evidence    Turns rows of items into statements: metrics, intervals, tests, claims, audit. Needs no model.
runs        The folder of a run: its files, where its weights come from, how it is read back.
budget      Plans the shape and the steps of an arm, and counts what it spends.
tasks       What a task is: its kind, rows and baselines. Needs no model.
data        Turns text into token windows: a pure function of (seed, step).
recipe      The typed, frozen description of one run, and the classes that its names stand for.
storage     Files that are either complete or absent; JSON and tables.

`make lint` checks the order (import-linter, in pyproject.toml).
"""
