"""Decoding in processes of their own: what strangers send is opened where it can do no harm."""
