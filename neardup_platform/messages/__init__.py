"""Wire format, topics, Kafka source and publisher: where images come in and decisions go out."""
