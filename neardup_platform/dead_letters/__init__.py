"""Messages that could not be processed: listing them and publishing them again."""
