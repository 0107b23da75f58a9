"""Messages on the topics: their Protocol Buffers schema, encoding, validation and size limits. Pure."""
