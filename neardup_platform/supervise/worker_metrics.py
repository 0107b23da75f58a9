"""The metrics that the worker's heartbeat carries: what each one means, for Prometheus and the reference.

They appear in `neardup status --json`, in `/v1/status`, in Dagster, and as `neardup_worker_<name>` on `/metrics`.
Counters are part of the store: they survive restarts, and a rollback restores those of the snapshot.
"""

GAUGES = {
    "images": "Images decided and not forgotten.",
    "clusters": "Clusters.",
    "lag": "Embeddings in the input topics that the worker has not taken up yet.",
    "images_per_s": "Images decided per second, over the last ten seconds.",
    "p50_ms": "Median time from an image's event time to its commit, over the last 2,000 images.",
    "p99_ms": "99th percentile of the same.",
    "rss_mb": "Resident memory of the worker, in MB.",
    "paused": "1 while the stream is paused.",
    "partitions_unread": "Partitions that exist and are not read; nothing expires while it is not 0.",
    "transactions_open": "Partitions held back by a producer's open transaction.",
    "messages_lost": "Messages that retention deleted before they were read, since the start.",
    "messages_truncated": "Messages that were read and that the broker then lost, since the start.",
    "topics_recreated": "Topics that were deleted and recreated, since the start.",
    "waiting": "Embeddings that wait for their partner.",
    "waiting_mb": "Memory of these, in MB.",
    "watermark_ms": "The watermark of the join, Unix milliseconds.",
    "watermark_delay_ms": "How far the watermark is behind now; join.idle_s and a second when all is well.",
    "idle_clock_behind_ms": "What the clock of quiet partitions still has to catch up with after a stop.",
    "overrides": "Active overrides.",
    "commands_waiting": "Commands read and not finished.",
    "outbox": "Messages to publish that the broker has not acknowledged.",
    "durable_p50_ms": "Median time that commits waited for the disk before they were published.",
    "durable_p99_ms": "99th percentile of the same.",
    "purge_problem": "1 while bytes of forgotten images could not be removed from disk.",
    "search_queries": "Queries that candidate search has begun, since the start.",
    "search_waited_ms": "Time that queries waited for terms.max_queries_per_s, in all.",
    "search_refused": "Queries refused; always 0 in the worker.",
    "search_waiting": "Queries that wait now.",
    "index_images": "Images in the term index.",
    "index_segments": "Active segments of the term index.",
    "index_bytes": "Bytes of the segments on disk.",
    "index_problem": "1 while segments of the term index cannot be written.",
    "ordinals": "Ordinals used; each image takes one, and another for each newer embedding.",
    "ordinals_limit": "Ordinals that exist: 2^32.",
    "sequence": "Decisions made.",
    "sequence_limit": "Sequence numbers that exist: 2^63.",
    "outbox_number": "Messages published.",
    "outbox_number_limit": "Outbox numbers that exist: 2^63.",
    "command_number": "Commands handled.",
    "command_number_limit": "Command numbers that exist: 2^63.",
    "id_space_left_ratio": "The smallest share left of these numbers.",
}

COUNTERS = {
    "received": "Messages read from the embedding topics, those that were replayed included.",
    "ingested": "Images decided from Parquet segments.",
    "repeated": "Messages with an embedding that was already there.",
    "re_embedded": "Messages with a newer or replacing embedding of a known image.",
    "expired": "Embeddings whose partner did not arrive within join.lateness_s.",
    "evicted": "Embeddings given up because too many waited (join.max_waiting, join.max_waiting_mb).",
    "dead_lettered": "Messages that could not be used.",
    "forgotten": "Messages dropped because their image was forgotten.",
    "unpublishable": "Messages of the worker that Kafka refused permanently.",
    "unpublishable_kept": "Dead letters that Kafka refused too: kept in the store and retried at each start.",
    "partitions_restarted": "Partitions read from their beginning because their topic was recreated.",
    "commands_accepted": "Commands carried out.",
    "commands_refused": "Commands refused.",
    "commands_repeated": "Commands answered with the result of their first time.",
    "commands_garbage": "Messages on the control topic that were not commands.",
}

WORKER_METRICS = {**GAUGES, **COUNTERS}
