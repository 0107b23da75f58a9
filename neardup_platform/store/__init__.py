"""The store: tables in RocksDB, their layout, and the only code that reads or writes them."""
