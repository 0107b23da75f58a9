"""Embedded servers on one machine, for users without their own Kafka and S3, and the supervisor of `neardup up`.

The rest of the platform never sees this package: `endpoints.resolve` fills in the addresses of the embedded Kafka and
S3, and from then on embedded and external servers are handled alike.
"""
