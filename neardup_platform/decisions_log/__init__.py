"""The decisions topic as hourly Parquet files on S3."""
