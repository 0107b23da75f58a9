"""Hand-over from another pipeline: how far its clusters and ours agree, and whether that is enough to cut over."""
