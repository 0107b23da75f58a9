"""Near-duplicate platform: which images are the same, decided within a second of upload."""

__version__ = "0.1.0"
