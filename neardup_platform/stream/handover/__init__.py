"""Hand-over from another pipeline: decisions that are withheld in shadow, and the cut-over that ends it."""
