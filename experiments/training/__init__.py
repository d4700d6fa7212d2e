"""One run: from a recipe to weights; it resumes where it was killed."""
