"""The HTTP API and the explorer page: reads the store through a RocksDB secondary, writes nothing.

Last step of the way: commit → publish → **serve**. `python -m neardup_platform.serving` runs it.
"""
