"""Training: where networks, data, losses, optimizers and the clock meet."""
