"""Corrections: overrides, forgetting, and deciding known images again."""
