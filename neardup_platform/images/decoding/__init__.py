"""Decoding in separate processes: untrusted files are opened where they can do no harm."""
