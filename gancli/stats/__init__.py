"""Statistics of sample sets, and the verdict on them."""
