"""Apache Kafka: topics, the consumer of embeddings and commands, and the producer of decisions."""
