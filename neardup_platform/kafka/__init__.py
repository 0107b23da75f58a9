"""Apache Kafka: topics, the consumer that reads embeddings and commands, and the producer that publishes decisions."""
