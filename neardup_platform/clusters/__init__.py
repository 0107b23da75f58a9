"""Clusters: the decision rule, overrides, and checked changes of membership."""
