"""Candidate search: embeddings become LSH terms, and the images nearest by them are found."""
