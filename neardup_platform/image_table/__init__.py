"""What is known of every image by ordinal, packed: its id, its cluster, and whether the term index holds it."""
