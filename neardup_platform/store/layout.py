"""Byte layout of the store: tables, keys, and the state digest. Pure.

| table | prefix | key | value |
|---|---|---|---|
| STATE | 0 | (empty) | StoreState |
| POSITIONS | 1 | topic, 0x00, u32 partition | Position |
| WAITING | 2 | u8 kind (0 lsh, 1 pair), image id | UnpairedRecord |
| IMAGES | 3 | image id | ImageRecord |
| CLUSTERS | 4 | head | ClusterRecord |
| MEMBERS | 5 | u16 length of head, head, u64 sequence | image id |
| RECENT | 6 | u64 2^64−1 − block, head of a cluster of two or more | u64 sequence of its last change |
| HISTORY | 7 | u16 length of image id, image id, u64 sequence | Decision |
| VECTORS | 8 | u64 ordinal | VectorRecord |
| OUTBOX | 9 | u64 number, from `outbox_first` in STATE on | OutboxEntry |
| COMMIT | 10 | u64 number of the last commit | (empty) |
| COMMANDS | 11 | command id | CommandRecord |
| COMMAND_ORDER | 12 | u64 number | command id |
| PROMOTIONS | 13 | u64 number of its command | Promotion |
| OVERRIDES | 14 | override id | Override |
| REDIRECTS | 15 | hash of a previous head | Redirect |
| FORGOTTEN | 16 | hash of an image id | Forgotten |
| PURGES | 17 | u64 number of the command | (empty) |
| PROGRESS | 22 | command id | CommandProgress |
| | | 0x00, `read`, position key | CommandProgress: offset up to which commands were read and checked for age |
| | | 0x00, `ahead` | CommandProgress: a long command, and the number of the last command before others overtook it |
| | | 0x00, `meet`, override id | (empty): an override accepted while this store was built, not yet applied |
| CHANGED | 23 | image id | Decision; only in a store that is being reprocessed |
| KEPT | 24 | u64 number | OutboxEntry that Kafka refuses, even as a dead letter |
| MOVES | 25 | u16 length of command id, command id, u64 sequence | Move: an image that `redecide` has moved |
| | | 0x0000, u64 sequence before the command | id of such a command |
| LABELS | 32 | bank, 0x00, image id | LabelRecord |
| | | 0x00 | CommandProgress: number of the last command that changed a label, and the last sequence before |
| HASHES | 33 | bank, 0x00, PDQ hash | LabelRecord |
| | | 0x00, bank | CommandProgress: how many hashes the bank has |
| TOUCHED | 34 | u64 number of a commit | Touched: the ordinals of known images that it changed |
| | | u64 number of the first | Touched: earlier ones are not listed |
| | | u64 2^64−1 | Touched: images were changed by other writes than commits |

Integers are big-endian, so byte order is numeric order: members are listed oldest first, blocks of recent clusters
newest first. Each ordinal is given once. The ordinal of a forgotten image, or one that the image no longer uses, has no
vectors. A purge stands for deleted bytes that may still be in the files. The length before an id keeps one id from
being a prefix of another id's range. Tables are prefixes of one key space, not column families, because a secondary
sees column families at different moments (docs/adr/0006).

Deleted keys slow down every scan across them until they are compacted. A table whose keys are deleted in the order of
their creation is therefore read from a known first key, never from its beginning: OUTBOX and COMMIT start at numbers in
STATE, TOUCHED after the commit of a checkpoint, and a cluster moves within RECENT only when a decision in another block
of `RECENT_BLOCK` changes it (docs/adr/0014).
"""

import hashlib
import struct
from enum import Enum

from neardup_platform.records import Kind
from neardup_platform.store.store_pb2 import ImageRecord

FORMAT = 4

# Sequences that share a block of RECENT.
RECENT_BLOCK = 1_024


class Table(Enum):
    """The first byte of every key."""

    STATE = b"\x00"
    POSITIONS = b"\x01"
    WAITING = b"\x02"
    IMAGES = b"\x03"
    CLUSTERS = b"\x04"
    MEMBERS = b"\x05"
    RECENT = b"\x06"
    HISTORY = b"\x07"
    VECTORS = b"\x08"
    OUTBOX = b"\x09"
    COMMIT = b"\x0a"
    COMMANDS = b"\x0b"
    COMMAND_ORDER = b"\x0c"
    PROMOTIONS = b"\x0d"
    OVERRIDES = b"\x0e"
    REDIRECTS = b"\x0f"
    FORGOTTEN = b"\x10"
    PURGES = b"\x11"
    PROGRESS = b"\x16"
    CHANGED = b"\x17"
    KEPT = b"\x18"
    MOVES = b"\x19"
    LABELS = b"\x20"
    HASHES = b"\x21"
    TOUCHED = b"\x22"


_U64_MAX = (1 << 64) - 1
# In TOUCHED: after every commit.
UNNOTED_KEY = b"\xff" * 8
_DIGEST_MODULUS = 1 << 128
_KIND_BYTE = {Kind.LSH: b"\x00", Kind.PAIR: b"\x01"}


def number_key(number: int) -> bytes:
    """Return the key of a vector by ordinal, or of an outbox entry by number: u64."""
    return struct.pack(">Q", number)


def number_of(key: bytes) -> int:
    """Return the number of a `number_key`, or the sequence that ends a member or history key."""
    return int(struct.unpack(">Q", key[-8:])[0])


def position_key(topic: str, partition: int) -> bytes:
    """Return the key of an input position."""
    return topic.encode() + b"\x00" + struct.pack(">I", partition)


def commands_read_key(topic: str, partition: int) -> bytes:
    """Return the key of the offset up to which commands were read. No command id begins with a zero byte."""
    return b"\x00read" + position_key(topic, partition)


AHEAD_KEY = b"\x00ahead"
DEFERRED_PREFIX = b"\x00meet"


# In LABELS: number of the last command that changed a label. No bank has an empty name.
LABELS_CHANGED_KEY = b"\x00"


def bank_prefix(bank: str) -> bytes:
    """Return the prefix of all label keys of a bank."""
    return bank.encode() + b"\x00"


def label_key(bank: str, image_id: str) -> bytes:
    """Return the key of a label. A bank's name has no zero byte."""
    return bank_prefix(bank) + image_id.encode()


def hash_in_bank_key(bank: str, pdq: bytes) -> bytes:
    """Return the key of a PDQ hash in a bank."""
    return bank_prefix(bank) + pdq


HASH_COUNTS_PREFIX = b"\x00"


def hash_count_key(bank: str) -> bytes:
    """Return the key of the number of hashes in a bank. No bank has an empty name."""
    return HASH_COUNTS_PREFIX + bank.encode()


def position_of(key: bytes) -> tuple[str, int]:
    """Return the topic and partition of a `position_key`."""
    return key[:-5].decode(), int(struct.unpack(">I", key[-4:])[0])


def waiting_key(kind: Kind, image_id: str) -> bytes:
    """Return the key of an unpaired embedding."""
    return _KIND_BYTE[kind] + image_id.encode()


def id_prefix(image_id: str) -> bytes:
    """Return the prefix of all member keys of a head, and of all history keys of an image."""
    encoded = image_id.encode()
    return struct.pack(">H", len(encoded)) + encoded


def after_prefix(prefix: bytes) -> bytes:
    """Return the first key after all keys with a prefix. The prefix must have a byte below 255."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1])


def id_of(key: bytes) -> str:
    """Return the image id or head that a member or history key begins with."""
    return key[2:-8].decode()


def sequence_key(image_id: str, sequence: int) -> bytes:
    """Return the key of a member (by its head) or of a decision (by its image)."""
    return id_prefix(image_id) + number_key(sequence)


MOVERS_PREFIX = b"\x00\x00"


def mover_key(sequence: int) -> bytes:
    """Return the key of a command that moved images, by the last sequence before it. No command id is empty."""
    return MOVERS_PREFIX + number_key(sequence)


def listed_under(image: ImageRecord) -> int:
    """Return the sequence under which its cluster lists an image: that of its joining, not of later decisions."""
    return image.member_sequence or image.sequence


def member_key(image: ImageRecord) -> bytes:
    """Return the key of an image among the members of its cluster."""
    return sequence_key(image.head, listed_under(image))


def hash_key(image_id: str) -> bytes:
    """Return a key that does not reveal the id: its BLAKE2b-128 hash."""
    return hashlib.blake2b(image_id.encode(), digest_size=16).digest()


def recent_key(head: str, sequence: int) -> bytes:
    """Return the key of a cluster among the recently changed ones, by the sequence of its last change."""
    return recent_prefix(sequence // RECENT_BLOCK) + head.encode()


def recent_block(key: bytes) -> bytes:
    """Return the block of a `recent_key`. Blocks sort newest first."""
    return key[:8]


def recent_prefix(block: int) -> bytes:
    """Return the prefix of the keys in RECENT of a block: of sequences from `block` times `RECENT_BLOCK` on."""
    return number_key(_U64_MAX - block)


def recent_head(key: bytes) -> str:
    """Return the head of a `recent_key`."""
    return key[8:].decode()


def assignment_digest(image_id: str, head: str) -> int:
    """Return one image's contribution to the state digest: BLAKE2b-128 of image id, 0, head."""
    data = image_id.encode() + b"\x00" + head.encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=16).digest(), "little")


def digest_after(digest: bytes, joined: int, left: int = 0) -> bytes:
    """Return the state digest after adding and removing assignments.

    A sum modulo 2^128 does not depend on order, so two stores with the same image → head have the same digest whatever
    their past.

    Args:
        joined: sum of the contributions that are added.
        left: sum of the contributions that are removed.
    """
    total = (int.from_bytes(digest, "little") + joined - left) % _DIGEST_MODULUS
    return total.to_bytes(16, "little")
