"""What the logs of an hour say about the stream: whether every image was decided, and how soon."""
