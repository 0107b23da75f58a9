"""Deciding every stored image again in a new store, beside the active one."""
