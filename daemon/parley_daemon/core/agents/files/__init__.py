"""What tools change in files: states, checkpoints, diffs."""
