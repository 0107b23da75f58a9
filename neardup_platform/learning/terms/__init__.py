"""The term space: hyperplanes fitted to sample embeddings, and the search for good settings."""
