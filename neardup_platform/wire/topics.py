"""The names of the topics, which ones the worker publishes to, and how each is partitioned."""

from neardup_platform.records import Kind

EMBEDDINGS = {Kind.LSH: "neardup.embeddings.lsh", Kind.PAIR: "neardup.embeddings.pair"}
KIND_OF_TOPIC = {topic: kind for kind, topic in EMBEDDINGS.items()}
DECISIONS = "neardup.decisions"
DEBUG = "neardup.debug"
CONTROL = "neardup.control"
CONTROL_RESULTS = "neardup.control-results"
DEAD_LETTER = "neardup.dead-letter"
JOIN_REPORT = "neardup.join-report"

# The topics that the worker publishes to.
PUBLISHED = (DECISIONS, DEBUG, CONTROL_RESULTS, DEAD_LETTER, JOIN_REPORT)

# Control has one partition, because the order of commands matters.
PARTITIONED = (*EMBEDDINGS.values(), DECISIONS, DEBUG)
SINGLE_PARTITION = (CONTROL, CONTROL_RESULTS, DEAD_LETTER, JOIN_REPORT)
