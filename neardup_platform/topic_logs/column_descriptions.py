"""What the columns of logs hold that their names do not say, by the name of the log."""

from collections.abc import Mapping

_DECISION = {
    "event_id": "The same for a decision that is published again.",
    "sequence": "The number of the decision; a higher one replaces a lower one about the same image.",
    "image_id": "The image that was decided.",
    "head": "The image whose id names its cluster; its own if it founded one.",
    "score": "Probability that the image and its best match are near-duplicates.",
    "head_score": "The same with the head.",
    "candidates": "Images found by terms, with the terms they share and their score.",
    "candidates_found": "Images found, those that are not listed included.",
    "bridges": "Heads of other clusters that it matches.",
    "threshold": "The match threshold that applied.",
    "head_threshold": "The threshold against the head that applied.",
    "terms_version": "Of the term space by which candidates were found.",
    "classifier_version": "Of the classifier that scored.",
    "candidates_left_out": "Candidates that the message has no room for.",
    "bridges_left_out": "Bridges that the message has no room for.",
    "event_time_ms": "When the image arose, Unix milliseconds.",
    "decided_ms": "When it was decided, Unix milliseconds.",
    "cause": "Why it was decided: its arrival, or a command.",
    "override_id": "The override that decided.",
    "replaced_head": "The head of the cluster that it left.",
    "guard": "The cluster that it was held apart from, and why.",
    "kind": "How it resembles its match: same, altered-copy, same-template.",
    "undistinctive": "Whether the picture is plain or resembles many others.",
    "corpus_images": "Images decided before it, by which thresholds rise.",
    "labels": "Labels of banks on its cluster.",
    "kafka_partition": "Of the message, as are the offset and the time.",
}

_EMBEDDING = {
    "image_id": "The image that is announced.",
    "kind": "lsh: hashed into terms; pair: compared by the pair classifier.",
    "model_version": "Of the model that made the vector.",
    "vector": "Little-endian numbers of the type that dtype names.",
    "event_time_ms": "When the image arose, Unix milliseconds.",
    "source_uri": "Where the picture is.",
    "replace": "Whether it replaces the stored embedding.",
}
_COMMAND = {
    "command_id": "A command that is sent again has the same one, and is carried out once.",
    "name": "Which operation.",
    "issued_by": "Who is responsible.",
    "issued_ms": "When it was sent, Unix milliseconds.",
}
_RESULT = {
    "command_id": "Of the command that this is the result of.",
    "accepted": "Whether it was carried out.",
    "reason": "Why it was refused.",
    "values": "What it did, by name.",
    "finished_ms": "When, Unix milliseconds.",
    "sequence": "The number of the last decision before it.",
}
_LETTER = {
    "event_id": "The same for a letter that is published again, and for the parts of one.",
    "reason": "Why the message was refused: `neardup dead-letter list` explains each.",
    "detail": "The value that was wrong, and where.",
    "topic": "Of the message, as are partition, offset, key and value.",
    "at_ms": "When it was refused, Unix milliseconds.",
    "replays": "How often the message had been published again before.",
}
_EXPIRY = {
    "event_id": "The same for a report that is published again.",
    "watermark_ms": "Every partition had been read up to this event time, Unix milliseconds.",
    "lateness_ms": "How long an embedding waits for its partner.",
    "counts": "Embeddings by kind and reason: expired, or evicted from a full waiting room.",
    "halves": "The embeddings, as many as the report lists.",
}
_DEBUG = {
    "event_id": "Of the first decision of the micro-batch, as is the image.",
    "batch_images": "Images that were decided together.",
    "stage_ms": "Milliseconds of each stage, for the whole micro-batch.",
    "first_sequence": "Numbers of its first and last decision.",
}

DESCRIBED: Mapping[str, Mapping[str, str]] = {
    "decisions": _DECISION,
    "debug": _DEBUG,
    "embeddings_lsh": _EMBEDDING,
    "embeddings_pair": _EMBEDDING,
    "dead_letters": _LETTER,
    "expiries": _EXPIRY,
    "commands": _COMMAND,
    "command_results": _RESULT,
}
