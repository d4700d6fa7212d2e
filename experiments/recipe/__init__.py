"""The typed, frozen description of one run, and the classes that its names stand for."""
