"""Other libraries on the same work as ours, one file each."""
