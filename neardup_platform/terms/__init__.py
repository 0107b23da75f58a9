"""Candidate search: embeddings become LSH terms, and images are ranked by the number of equal terms."""
