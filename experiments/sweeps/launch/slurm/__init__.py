"""launcher=slurm: array jobs, their queue, and the program of one task."""
