"""Sample pictures, and the demo, which ingests altered copies of them and counts what the platform found."""
