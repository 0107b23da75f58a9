"""Publishing pictures and embeddings to Kafka, and following them until they are decided."""
