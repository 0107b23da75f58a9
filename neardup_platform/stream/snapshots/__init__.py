"""Snapshots of the store on S3, and going back to one."""
