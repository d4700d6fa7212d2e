"""Many runs as one experiment: described, registered, tuned, launched."""
