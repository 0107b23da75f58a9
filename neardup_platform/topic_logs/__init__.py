"""Logs of topics: what was published in an hour, as Parquet on S3."""
