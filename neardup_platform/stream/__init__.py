"""The stream worker: the one process that writes the store."""
