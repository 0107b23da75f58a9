from neardup_platform.wire import neardup_pb2 as _neardup_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ImageRecord(_message.Message):
    __slots__ = ("ordinal", "head", "sequence", "score", "event_time_ms", "decided_ms", "source_uri", "member_sequence", "earlier_ordinals", "held_apart", "kind", "undistinctive", "pdq", "pdq_quality")
    ORDINAL_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    DECIDED_MS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_URI_FIELD_NUMBER: _ClassVar[int]
    MEMBER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EARLIER_ORDINALS_FIELD_NUMBER: _ClassVar[int]
    HELD_APART_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    UNDISTINCTIVE_FIELD_NUMBER: _ClassVar[int]
    PDQ_FIELD_NUMBER: _ClassVar[int]
    PDQ_QUALITY_FIELD_NUMBER: _ClassVar[int]
    ordinal: int
    head: str
    sequence: int
    score: float
    event_time_ms: int
    decided_ms: int
    source_uri: str
    member_sequence: int
    earlier_ordinals: _containers.RepeatedScalarFieldContainer[int]
    held_apart: bool
    kind: str
    undistinctive: bool
    pdq: bytes
    pdq_quality: int
    def __init__(self, ordinal: _Optional[int] = ..., head: _Optional[str] = ..., sequence: _Optional[int] = ..., score: _Optional[float] = ..., event_time_ms: _Optional[int] = ..., decided_ms: _Optional[int] = ..., source_uri: _Optional[str] = ..., member_sequence: _Optional[int] = ..., earlier_ordinals: _Optional[_Iterable[int]] = ..., held_apart: _Optional[bool] = ..., kind: _Optional[str] = ..., undistinctive: _Optional[bool] = ..., pdq: _Optional[bytes] = ..., pdq_quality: _Optional[int] = ...) -> None: ...

class ClusterRecord(_message.Message):
    __slots__ = ("size", "created_ms", "updated_ms", "updated_sequence", "representatives")
    SIZE_FIELD_NUMBER: _ClassVar[int]
    CREATED_MS_FIELD_NUMBER: _ClassVar[int]
    UPDATED_MS_FIELD_NUMBER: _ClassVar[int]
    UPDATED_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REPRESENTATIVES_FIELD_NUMBER: _ClassVar[int]
    size: int
    created_ms: int
    updated_ms: int
    updated_sequence: int
    representatives: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, size: _Optional[int] = ..., created_ms: _Optional[int] = ..., updated_ms: _Optional[int] = ..., updated_sequence: _Optional[int] = ..., representatives: _Optional[_Iterable[str]] = ...) -> None: ...

class VectorRecord(_message.Message):
    __slots__ = ("image_id", "lsh_version", "pair_version", "lsh", "pair", "retired")
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    LSH_VERSION_FIELD_NUMBER: _ClassVar[int]
    PAIR_VERSION_FIELD_NUMBER: _ClassVar[int]
    LSH_FIELD_NUMBER: _ClassVar[int]
    PAIR_FIELD_NUMBER: _ClassVar[int]
    RETIRED_FIELD_NUMBER: _ClassVar[int]
    image_id: str
    lsh_version: str
    pair_version: str
    lsh: bytes
    pair: bytes
    retired: bool
    def __init__(self, image_id: _Optional[str] = ..., lsh_version: _Optional[str] = ..., pair_version: _Optional[str] = ..., lsh: _Optional[bytes] = ..., pair: _Optional[bytes] = ..., retired: _Optional[bool] = ...) -> None: ...

class OutboxEntry(_message.Message):
    __slots__ = ("topic", "key", "value")
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    topic: str
    key: bytes
    value: bytes
    def __init__(self, topic: _Optional[str] = ..., key: _Optional[bytes] = ..., value: _Optional[bytes] = ...) -> None: ...

class UnpairedRecord(_message.Message):
    __slots__ = ("value", "topic", "partition", "offset", "waits_from_ms", "replays", "log")
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    WAITS_FROM_MS_FIELD_NUMBER: _ClassVar[int]
    REPLAYS_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    value: bytes
    topic: str
    partition: int
    offset: int
    waits_from_ms: int
    replays: int
    log: str
    def __init__(self, value: _Optional[bytes] = ..., topic: _Optional[str] = ..., partition: _Optional[int] = ..., offset: _Optional[int] = ..., waits_from_ms: _Optional[int] = ..., replays: _Optional[int] = ..., log: _Optional[str] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("next_offset", "clock_ms", "unread", "log", "epoch")
    NEXT_OFFSET_FIELD_NUMBER: _ClassVar[int]
    CLOCK_MS_FIELD_NUMBER: _ClassVar[int]
    UNREAD_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    next_offset: int
    clock_ms: int
    unread: bool
    log: str
    epoch: int
    def __init__(self, next_offset: _Optional[int] = ..., clock_ms: _Optional[int] = ..., unread: _Optional[bool] = ..., log: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class CommandRecord(_message.Message):
    __slots__ = ("number", "result", "name", "issued_by")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ISSUED_BY_FIELD_NUMBER: _ClassVar[int]
    number: int
    result: _neardup_pb2.CommandResult
    name: str
    issued_by: str
    def __init__(self, number: _Optional[int] = ..., result: _Optional[_Union[_neardup_pb2.CommandResult, _Mapping]] = ..., name: _Optional[str] = ..., issued_by: _Optional[str] = ...) -> None: ...

class CommandProgress(_message.Message):
    __slots__ = ("done", "counts", "of", "elsewhere")
    class CountsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    DONE_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    OF_FIELD_NUMBER: _ClassVar[int]
    ELSEWHERE_FIELD_NUMBER: _ClassVar[int]
    done: int
    counts: _containers.ScalarMap[str, int]
    of: bytes
    elsewhere: _containers.RepeatedCompositeFieldContainer[Elsewhere]
    def __init__(self, done: _Optional[int] = ..., counts: _Optional[_Mapping[str, int]] = ..., of: _Optional[bytes] = ..., elsewhere: _Optional[_Iterable[_Union[Elsewhere, _Mapping]]] = ...) -> None: ...

class Elsewhere(_message.Message):
    __slots__ = ("image_id", "given", "head")
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    GIVEN_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    image_id: str
    given: str
    head: str
    def __init__(self, image_id: _Optional[str] = ..., given: _Optional[str] = ..., head: _Optional[str] = ...) -> None: ...

class Move(_message.Message):
    __slots__ = ("image_id", "head_before", "sequence_before", "head_after")
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    HEAD_BEFORE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_BEFORE_FIELD_NUMBER: _ClassVar[int]
    HEAD_AFTER_FIELD_NUMBER: _ClassVar[int]
    image_id: str
    head_before: str
    sequence_before: int
    head_after: str
    def __init__(self, image_id: _Optional[str] = ..., head_before: _Optional[str] = ..., sequence_before: _Optional[int] = ..., head_after: _Optional[str] = ...) -> None: ...

class Touched(_message.Message):
    __slots__ = ("ordinals", "all")
    ORDINALS_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    ordinals: _containers.RepeatedScalarFieldContainer[int]
    all: bool
    def __init__(self, ordinals: _Optional[_Iterable[int]] = ..., all: _Optional[bool] = ...) -> None: ...

class Pause(_message.Message):
    __slots__ = ("by", "at_ms", "command_id")
    BY_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    by: str
    at_ms: int
    command_id: str
    def __init__(self, by: _Optional[str] = ..., at_ms: _Optional[int] = ..., command_id: _Optional[str] = ...) -> None: ...

class Override(_message.Message):
    __slots__ = ("override_id", "action", "image_id", "other_id", "reason", "issued_by", "at_ms", "sequence", "image_ids", "first_ids", "bank")
    OVERRIDE_ID_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    OTHER_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ISSUED_BY_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_IDS_FIELD_NUMBER: _ClassVar[int]
    FIRST_IDS_FIELD_NUMBER: _ClassVar[int]
    BANK_FIELD_NUMBER: _ClassVar[int]
    override_id: str
    action: str
    image_id: str
    other_id: str
    reason: str
    issued_by: str
    at_ms: int
    sequence: int
    image_ids: _containers.RepeatedScalarFieldContainer[str]
    first_ids: _containers.RepeatedScalarFieldContainer[str]
    bank: str
    def __init__(self, override_id: _Optional[str] = ..., action: _Optional[str] = ..., image_id: _Optional[str] = ..., other_id: _Optional[str] = ..., reason: _Optional[str] = ..., issued_by: _Optional[str] = ..., at_ms: _Optional[int] = ..., sequence: _Optional[int] = ..., image_ids: _Optional[_Iterable[str]] = ..., first_ids: _Optional[_Iterable[str]] = ..., bank: _Optional[str] = ...) -> None: ...

class LabelRecord(_message.Message):
    __slots__ = ("label", "reason", "issued_by", "at_ms", "sequence")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ISSUED_BY_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    label: _neardup_pb2.Label
    reason: str
    issued_by: str
    at_ms: int
    sequence: int
    def __init__(self, label: _Optional[_Union[_neardup_pb2.Label, _Mapping]] = ..., reason: _Optional[str] = ..., issued_by: _Optional[str] = ..., at_ms: _Optional[int] = ..., sequence: _Optional[int] = ...) -> None: ...

class Redirect(_message.Message):
    __slots__ = ("head", "sequence", "at_ms", "cause", "command_id")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    head: str
    sequence: int
    at_ms: int
    cause: str
    command_id: str
    def __init__(self, head: _Optional[str] = ..., sequence: _Optional[int] = ..., at_ms: _Optional[int] = ..., cause: _Optional[str] = ..., command_id: _Optional[str] = ...) -> None: ...

class Forgotten(_message.Message):
    __slots__ = ("upto_ms", "at_ms", "issued_by", "command_id")
    UPTO_MS_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    ISSUED_BY_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    upto_ms: int
    at_ms: int
    issued_by: str
    command_id: str
    def __init__(self, upto_ms: _Optional[int] = ..., at_ms: _Optional[int] = ..., issued_by: _Optional[str] = ..., command_id: _Optional[str] = ...) -> None: ...

class Promotion(_message.Message):
    __slots__ = ("version", "replaced", "command_id", "issued_by", "at_ms", "sequence", "forced")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    REPLACED_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUED_BY_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    FORCED_FIELD_NUMBER: _ClassVar[int]
    version: str
    replaced: str
    command_id: str
    issued_by: str
    at_ms: int
    sequence: int
    forced: bool
    def __init__(self, version: _Optional[str] = ..., replaced: _Optional[str] = ..., command_id: _Optional[str] = ..., issued_by: _Optional[str] = ..., at_ms: _Optional[int] = ..., sequence: _Optional[int] = ..., forced: _Optional[bool] = ...) -> None: ...

class StoreState(_message.Message):
    __slots__ = ("format", "terms_version", "images", "clusters", "sequence", "outbox_number", "digest", "commit", "store_id", "counters", "classifier_version", "commands", "ordinals", "forgotten", "redirects", "paused", "outbox_first", "shared", "reserved", "shadows", "touched_commit", "cells")
    class CountersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    TERMS_VERSION_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    CLUSTERS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OUTBOX_NUMBER_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_VERSION_FIELD_NUMBER: _ClassVar[int]
    COMMANDS_FIELD_NUMBER: _ClassVar[int]
    ORDINALS_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    REDIRECTS_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    OUTBOX_FIRST_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    RESERVED_FIELD_NUMBER: _ClassVar[int]
    SHADOWS_FIELD_NUMBER: _ClassVar[int]
    TOUCHED_COMMIT_FIELD_NUMBER: _ClassVar[int]
    CELLS_FIELD_NUMBER: _ClassVar[int]
    format: int
    terms_version: str
    images: int
    clusters: int
    sequence: int
    outbox_number: int
    digest: bytes
    commit: int
    store_id: str
    counters: _containers.ScalarMap[str, int]
    classifier_version: str
    commands: int
    ordinals: int
    forgotten: int
    redirects: int
    paused: Pause
    outbox_first: int
    shared: Shared
    reserved: Reserved
    shadows: _containers.RepeatedCompositeFieldContainer[Shadow]
    touched_commit: int
    cells: _containers.RepeatedCompositeFieldContainer[Cells]
    def __init__(self, format: _Optional[int] = ..., terms_version: _Optional[str] = ..., images: _Optional[int] = ..., clusters: _Optional[int] = ..., sequence: _Optional[int] = ..., outbox_number: _Optional[int] = ..., digest: _Optional[bytes] = ..., commit: _Optional[int] = ..., store_id: _Optional[str] = ..., counters: _Optional[_Mapping[str, int]] = ..., classifier_version: _Optional[str] = ..., commands: _Optional[int] = ..., ordinals: _Optional[int] = ..., forgotten: _Optional[int] = ..., redirects: _Optional[int] = ..., paused: _Optional[_Union[Pause, _Mapping]] = ..., outbox_first: _Optional[int] = ..., shared: _Optional[_Union[Shared, _Mapping]] = ..., reserved: _Optional[_Union[Reserved, _Mapping]] = ..., shadows: _Optional[_Iterable[_Union[Shadow, _Mapping]]] = ..., touched_commit: _Optional[int] = ..., cells: _Optional[_Iterable[_Union[Cells, _Mapping]]] = ...) -> None: ...

class Cells(_message.Message):
    __slots__ = ("version", "after_sequence", "at_ms", "images", "command_id", "issued_by")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    ISSUED_BY_FIELD_NUMBER: _ClassVar[int]
    version: str
    after_sequence: int
    at_ms: int
    images: int
    command_id: str
    issued_by: str
    def __init__(self, version: _Optional[str] = ..., after_sequence: _Optional[int] = ..., at_ms: _Optional[int] = ..., images: _Optional[int] = ..., command_id: _Optional[str] = ..., issued_by: _Optional[str] = ...) -> None: ...

class Reserved(_message.Message):
    __slots__ = ("first_ordinal", "end_ordinal", "first_sequence", "taken", "command_id", "store_id")
    FIRST_ORDINAL_FIELD_NUMBER: _ClassVar[int]
    END_ORDINAL_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TAKEN_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    first_ordinal: int
    end_ordinal: int
    first_sequence: int
    taken: bool
    command_id: str
    store_id: str
    def __init__(self, first_ordinal: _Optional[int] = ..., end_ordinal: _Optional[int] = ..., first_sequence: _Optional[int] = ..., taken: _Optional[bool] = ..., command_id: _Optional[str] = ..., store_id: _Optional[str] = ...) -> None: ...

class Shadow(_message.Message):
    __slots__ = ("by", "since_ms", "command_id", "after_sequence", "withheld", "until_ms", "ended_by", "ended_command_id", "until_sequence", "reason")
    BY_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_FIELD_NUMBER: _ClassVar[int]
    UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    ENDED_BY_FIELD_NUMBER: _ClassVar[int]
    ENDED_COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    UNTIL_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    by: str
    since_ms: int
    command_id: str
    after_sequence: int
    withheld: int
    until_ms: int
    ended_by: str
    ended_command_id: str
    until_sequence: int
    reason: str
    def __init__(self, by: _Optional[str] = ..., since_ms: _Optional[int] = ..., command_id: _Optional[str] = ..., after_sequence: _Optional[int] = ..., withheld: _Optional[int] = ..., until_ms: _Optional[int] = ..., ended_by: _Optional[str] = ..., ended_command_id: _Optional[str] = ..., until_sequence: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class Shared(_message.Message):
    __slots__ = ("store_id", "end")
    STORE_ID_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    store_id: str
    end: int
    def __init__(self, store_id: _Optional[str] = ..., end: _Optional[int] = ...) -> None: ...
