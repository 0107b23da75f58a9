"""Bulk loads: Parquet segments on S3 decided in one command."""
