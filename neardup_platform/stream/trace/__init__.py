"""Running one known image through the pipeline again and reporting every intermediate result."""
