"""Bootstrap: an existing corpus on S3, checked as a whole, becomes files that the worker takes in at once."""
