"""The term index with other cells, made and exchanged while the stream runs."""
