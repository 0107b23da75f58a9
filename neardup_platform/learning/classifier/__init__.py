"""The pair classifier: training pairs, training, promotion rules and the registry on S3."""
