"""Switching the active classifier without a restart."""
