"""The files of some hours of a log, fetched from S3."""

from neardup_platform.topic_logs.s3_hours import fetch_hour

__all__ = ["fetch_hour"]
