"""launcher=slurm: submits array jobs, follows their queue, and holds the program of one task."""
