"""Candidate search: hashes embeddings into LSH terms and finds the images that are nearest by them."""
