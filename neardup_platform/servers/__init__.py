"""Servers on one machine, for people who bring none of their own, and the supervisor of `neardup up`.

The rest of the platform never sees this package: `endpoints.resolve` fills in the addresses of the embedded
Kafka and S3, and from there on embedded and external servers are alike.
"""
