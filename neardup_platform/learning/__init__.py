"""Training: the pair classifier, the term space and the embedder."""
