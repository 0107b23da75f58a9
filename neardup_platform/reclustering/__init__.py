"""Proposals to merge and split clusters, from recorded scores; an operator applies them as overrides."""
