"""Deciding chosen images again, in place and in batches, and undoing that as a unit."""
