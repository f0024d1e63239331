"""Statistics that compare generated samples with real ones, and the verdict."""
