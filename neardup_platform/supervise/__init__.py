"""Keeping processes alive: one owner for each home, heartbeats, restarts with back-off, clean stops."""
