"""Whether two pictures agree place by place: small sketches of them, laid over each other."""
