"""Pairing of the two kinds of embedding of an image, in event time, with lateness bounded."""
