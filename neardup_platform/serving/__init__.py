"""The HTTP API and the explorer page: they read the store through a RocksDB secondary and write nothing.

Last stage of the data's way: commit → publish → **serve**. `python -m neardup_platform.serving` runs it.
"""
