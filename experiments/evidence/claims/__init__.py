"""Claims: statements about arms, the endpoints they are tested on, and the verdicts."""
