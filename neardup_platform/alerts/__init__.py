"""Tells people about problems: one message when a problem begins, and one when it is over."""
