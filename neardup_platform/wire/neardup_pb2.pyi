from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_LSH: _ClassVar[Kind]
    KIND_PAIR: _ClassVar[Kind]

class Dtype(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DTYPE_UNSPECIFIED: _ClassVar[Dtype]
    DTYPE_FLOAT32: _ClassVar[Dtype]
    DTYPE_FLOAT16: _ClassVar[Dtype]
KIND_UNSPECIFIED: Kind
KIND_LSH: Kind
KIND_PAIR: Kind
DTYPE_UNSPECIFIED: Dtype
DTYPE_FLOAT32: Dtype
DTYPE_FLOAT16: Dtype

class EmbeddingReady(_message.Message):
    __slots__ = ("image_id", "kind", "model_version", "vector", "dtype", "event_time_ms", "source_uri", "replace", "pdq", "pdq_quality")
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    VECTOR_FIELD_NUMBER: _ClassVar[int]
    DTYPE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_URI_FIELD_NUMBER: _ClassVar[int]
    REPLACE_FIELD_NUMBER: _ClassVar[int]
    PDQ_FIELD_NUMBER: _ClassVar[int]
    PDQ_QUALITY_FIELD_NUMBER: _ClassVar[int]
    image_id: str
    kind: Kind
    model_version: str
    vector: bytes
    dtype: Dtype
    event_time_ms: int
    source_uri: str
    replace: bool
    pdq: bytes
    pdq_quality: int
    def __init__(self, image_id: _Optional[str] = ..., kind: _Optional[_Union[Kind, str]] = ..., model_version: _Optional[str] = ..., vector: _Optional[bytes] = ..., dtype: _Optional[_Union[Dtype, str]] = ..., event_time_ms: _Optional[int] = ..., source_uri: _Optional[str] = ..., replace: _Optional[bool] = ..., pdq: _Optional[bytes] = ..., pdq_quality: _Optional[int] = ...) -> None: ...

class Candidate(_message.Message):
    __slots__ = ("image_id", "overlap", "score", "head", "kind")
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    OVERLAP_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    image_id: str
    overlap: int
    score: float
    head: str
    kind: str
    def __init__(self, image_id: _Optional[str] = ..., overlap: _Optional[int] = ..., score: _Optional[float] = ..., head: _Optional[str] = ..., kind: _Optional[str] = ...) -> None: ...

class HeldApart(_message.Message):
    __slots__ = ("reason", "head", "agreed", "compared", "size")
    REASON_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    AGREED_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    head: str
    agreed: int
    compared: int
    size: int
    def __init__(self, reason: _Optional[str] = ..., head: _Optional[str] = ..., agreed: _Optional[int] = ..., compared: _Optional[int] = ..., size: _Optional[int] = ...) -> None: ...

class Label(_message.Message):
    __slots__ = ("label_id", "bank", "image_id", "policy", "action", "pdq", "distance")
    LABEL_ID_FIELD_NUMBER: _ClassVar[int]
    BANK_FIELD_NUMBER: _ClassVar[int]
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    PDQ_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    label_id: str
    bank: str
    image_id: str
    policy: str
    action: str
    pdq: bytes
    distance: int
    def __init__(self, label_id: _Optional[str] = ..., bank: _Optional[str] = ..., image_id: _Optional[str] = ..., policy: _Optional[str] = ..., action: _Optional[str] = ..., pdq: _Optional[bytes] = ..., distance: _Optional[int] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("event_id", "sequence", "image_id", "head", "score", "head_score", "candidates", "candidates_found", "bridges", "threshold", "head_threshold", "terms_version", "classifier_version", "event_time_ms", "decided_ms", "cause", "override_id", "replaced_head", "guard", "candidates_left_out", "bridges_left_out", "kind", "undistinctive", "corpus_images", "labels")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    HEAD_SCORE_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FOUND_FIELD_NUMBER: _ClassVar[int]
    BRIDGES_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    HEAD_THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    TERMS_VERSION_FIELD_NUMBER: _ClassVar[int]
    CLASSIFIER_VERSION_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    DECIDED_MS_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    OVERRIDE_ID_FIELD_NUMBER: _ClassVar[int]
    REPLACED_HEAD_FIELD_NUMBER: _ClassVar[int]
    GUARD_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    BRIDGES_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    UNDISTINCTIVE_FIELD_NUMBER: _ClassVar[int]
    CORPUS_IMAGES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    sequence: int
    image_id: str
    head: str
    score: float
    head_score: float
    candidates: _containers.RepeatedCompositeFieldContainer[Candidate]
    candidates_found: int
    bridges: _containers.RepeatedScalarFieldContainer[str]
    threshold: float
    head_threshold: float
    terms_version: str
    classifier_version: str
    event_time_ms: int
    decided_ms: int
    cause: str
    override_id: str
    replaced_head: str
    guard: HeldApart
    candidates_left_out: int
    bridges_left_out: int
    kind: str
    undistinctive: bool
    corpus_images: int
    labels: _containers.RepeatedCompositeFieldContainer[Label]
    def __init__(self, event_id: _Optional[str] = ..., sequence: _Optional[int] = ..., image_id: _Optional[str] = ..., head: _Optional[str] = ..., score: _Optional[float] = ..., head_score: _Optional[float] = ..., candidates: _Optional[_Iterable[_Union[Candidate, _Mapping]]] = ..., candidates_found: _Optional[int] = ..., bridges: _Optional[_Iterable[str]] = ..., threshold: _Optional[float] = ..., head_threshold: _Optional[float] = ..., terms_version: _Optional[str] = ..., classifier_version: _Optional[str] = ..., event_time_ms: _Optional[int] = ..., decided_ms: _Optional[int] = ..., cause: _Optional[str] = ..., override_id: _Optional[str] = ..., replaced_head: _Optional[str] = ..., guard: _Optional[_Union[HeldApart, _Mapping]] = ..., candidates_left_out: _Optional[int] = ..., bridges_left_out: _Optional[int] = ..., kind: _Optional[str] = ..., undistinctive: _Optional[bool] = ..., corpus_images: _Optional[int] = ..., labels: _Optional[_Iterable[_Union[Label, _Mapping]]] = ...) -> None: ...

class DebugDetail(_message.Message):
    __slots__ = ("event_id", "image_id", "lsh_version", "pair_version", "batch_images", "stage_ms", "first_sequence", "last_sequence")
    class StageMsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    LSH_VERSION_FIELD_NUMBER: _ClassVar[int]
    PAIR_VERSION_FIELD_NUMBER: _ClassVar[int]
    BATCH_IMAGES_FIELD_NUMBER: _ClassVar[int]
    STAGE_MS_FIELD_NUMBER: _ClassVar[int]
    FIRST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    image_id: str
    lsh_version: str
    pair_version: str
    batch_images: int
    stage_ms: _containers.ScalarMap[str, float]
    first_sequence: int
    last_sequence: int
    def __init__(self, event_id: _Optional[str] = ..., image_id: _Optional[str] = ..., lsh_version: _Optional[str] = ..., pair_version: _Optional[str] = ..., batch_images: _Optional[int] = ..., stage_ms: _Optional[_Mapping[str, float]] = ..., first_sequence: _Optional[int] = ..., last_sequence: _Optional[int] = ...) -> None: ...

class Command(_message.Message):
    __slots__ = ("command_id", "name", "arguments", "issued_by", "issued_ms")
    class ArgumentsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    ARGUMENTS_FIELD_NUMBER: _ClassVar[int]
    ISSUED_BY_FIELD_NUMBER: _ClassVar[int]
    ISSUED_MS_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    name: str
    arguments: _containers.ScalarMap[str, str]
    issued_by: str
    issued_ms: int
    def __init__(self, command_id: _Optional[str] = ..., name: _Optional[str] = ..., arguments: _Optional[_Mapping[str, str]] = ..., issued_by: _Optional[str] = ..., issued_ms: _Optional[int] = ...) -> None: ...

class CommandResult(_message.Message):
    __slots__ = ("command_id", "accepted", "reason", "values", "finished_ms", "sequence", "temporary", "values_left_out")
    class ValuesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class ValuesLeftOutEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    COMMAND_ID_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    FINISHED_MS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TEMPORARY_FIELD_NUMBER: _ClassVar[int]
    VALUES_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    command_id: str
    accepted: bool
    reason: str
    values: _containers.ScalarMap[str, str]
    finished_ms: int
    sequence: int
    temporary: bool
    values_left_out: _containers.ScalarMap[str, int]
    def __init__(self, command_id: _Optional[str] = ..., accepted: _Optional[bool] = ..., reason: _Optional[str] = ..., values: _Optional[_Mapping[str, str]] = ..., finished_ms: _Optional[int] = ..., sequence: _Optional[int] = ..., temporary: _Optional[bool] = ..., values_left_out: _Optional[_Mapping[str, int]] = ...) -> None: ...

class DeadLetter(_message.Message):
    __slots__ = ("event_id", "reason", "detail", "topic", "partition", "offset", "key", "value", "at_ms", "replays", "part", "parts")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    REPLAYS_FIELD_NUMBER: _ClassVar[int]
    PART_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    reason: str
    detail: str
    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes
    at_ms: int
    replays: int
    part: int
    parts: int
    def __init__(self, event_id: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., topic: _Optional[str] = ..., partition: _Optional[int] = ..., offset: _Optional[int] = ..., key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., at_ms: _Optional[int] = ..., replays: _Optional[int] = ..., part: _Optional[int] = ..., parts: _Optional[int] = ...) -> None: ...

class ExpiryReport(_message.Message):
    __slots__ = ("event_id", "at_ms", "watermark_ms", "lateness_ms", "counts", "oldest_event_ms", "newest_event_ms", "halves", "halves_left_out")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_MS_FIELD_NUMBER: _ClassVar[int]
    LATENESS_MS_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    OLDEST_EVENT_MS_FIELD_NUMBER: _ClassVar[int]
    NEWEST_EVENT_MS_FIELD_NUMBER: _ClassVar[int]
    HALVES_FIELD_NUMBER: _ClassVar[int]
    HALVES_LEFT_OUT_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    at_ms: int
    watermark_ms: int
    lateness_ms: int
    counts: _containers.RepeatedCompositeFieldContainer[ExpiryCount]
    oldest_event_ms: int
    newest_event_ms: int
    halves: _containers.RepeatedCompositeFieldContainer[ExpiredHalf]
    halves_left_out: int
    def __init__(self, event_id: _Optional[str] = ..., at_ms: _Optional[int] = ..., watermark_ms: _Optional[int] = ..., lateness_ms: _Optional[int] = ..., counts: _Optional[_Iterable[_Union[ExpiryCount, _Mapping]]] = ..., oldest_event_ms: _Optional[int] = ..., newest_event_ms: _Optional[int] = ..., halves: _Optional[_Iterable[_Union[ExpiredHalf, _Mapping]]] = ..., halves_left_out: _Optional[int] = ...) -> None: ...

class ExpiryCount(_message.Message):
    __slots__ = ("kind", "reason", "halves")
    KIND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    HALVES_FIELD_NUMBER: _ClassVar[int]
    kind: Kind
    reason: str
    halves: int
    def __init__(self, kind: _Optional[_Union[Kind, str]] = ..., reason: _Optional[str] = ..., halves: _Optional[int] = ...) -> None: ...

class ExpiredHalf(_message.Message):
    __slots__ = ("image_id", "kind", "reason", "topic", "partition", "offset", "event_time_ms")
    IMAGE_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_MS_FIELD_NUMBER: _ClassVar[int]
    image_id: str
    kind: Kind
    reason: str
    topic: str
    partition: int
    offset: int
    event_time_ms: int
    def __init__(self, image_id: _Optional[str] = ..., kind: _Optional[_Union[Kind, str]] = ..., reason: _Optional[str] = ..., topic: _Optional[str] = ..., partition: _Optional[int] = ..., offset: _Optional[int] = ..., event_time_ms: _Optional[int] = ...) -> None: ...
