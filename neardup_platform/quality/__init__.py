"""How well it works: evaluation on labelled pictures."""
