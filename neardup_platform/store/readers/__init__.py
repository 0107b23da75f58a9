"""Typed reads of the store, one reader for each subject; `StoreView` has one of each."""
