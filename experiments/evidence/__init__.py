"""From rows of items to statements: metrics, intervals, tests, claims, audit. Needs no model."""
