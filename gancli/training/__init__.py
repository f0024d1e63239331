"""Training: the loop, its steps, the log, the warnings and the run state."""
