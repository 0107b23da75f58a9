"""Bulk loads: a data set with given heads becomes part of the store at once, while the stream runs."""
