"""Byte layout of the store: tables, keys, and the state digest. Pure.

| table | prefix | key | value |
|---|---|---|---|
| STATE | 0 | (empty) | StoreState |
| POSITIONS | 1 | topic, 0x00, u32 partition | Position |
| WAITING | 2 | u8 kind (0 lsh, 1 pair), image id | WaitingHalf |
| IMAGES | 3 | image id | ImageRecord |
| CLUSTERS | 4 | head | ClusterRecord |
| MEMBERS | 5 | u16 length of head, head, u64 sequence | image id |
| RECENT | 6 | u64 2^64−1 − block, head of a cluster of two or more | u64 sequence that last changed it |
| HISTORY | 7 | u16 length of image id, image id, u64 sequence | Decision |
| VECTORS | 8 | u64 ordinal | VectorRecord |
| OUTBOX | 9 | u64 number, from `outbox_first` of the state on | OutboxEntry |
| COMMIT | 10 | u64 number of the last commit | (empty) |
| COMMANDS | 11 | command id | CommandRecord |
| COMMAND_ORDER | 12 | u64 number | command id |
| PROMOTIONS | 13 | u64 number of its command | Promotion |
| OVERRIDES | 14 | its id | Override |
| REDIRECTS | 15 | hash of a head that was | Redirect |
| FORGOTTEN | 16 | hash of an image id | Forgotten |
| PURGES | 17 | u64 number of the command | (empty) |
| PROGRESS | 22 | command id | CommandProgress |
| | | 0x00, `read`, position key | CommandProgress: up to which offset commands were read in time |
| | | 0x00, `ahead` | CommandProgress: since which number commands were handled ahead of the long one named |
| | | 0x00, `meet`, override id | (empty): an override laid down ahead, to be met at the start |
| CHANGED | 23 | image id | Decision; only in a store that is being reprocessed |
| KEPT | 24 | u64 number | OutboxEntry that no topic takes, not even as a dead letter |

Integers are big-endian, so that byte order is numeric order: members are listed oldest first, blocks of recent clusters
newest first. Ordinals are given once: one whose image was forgotten or got another has no vectors any more. A purge
stands for bytes that were deleted and may still lie in the files. The length before an id keeps one id from being the
prefix of another's range. Tables are prefixes of one key space rather than column families, because a secondary reader
sees column families at different moments (docs/adr/0006).

A table whose keys are deleted in the order in which they came is read from a known first key on, never from its
beginning: a deleted key stays in the way of every scan until it is compacted. So OUTBOX and COMMIT are read from the
numbers in the state, and a cluster moves within RECENT only when a decision of another block of `RECENT_BLOCK` changes
it (docs/adr/0014).
"""

import hashlib
import struct
from enum import Enum

from neardup_platform.records import Kind

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


_U64_MAX = (1 << 64) - 1
_DIGEST_MODULUS = 1 << 128
_KIND_BYTE = {Kind.LSH: b"\x00", Kind.PAIR: b"\x01"}


def number_key(number: int) -> bytes:
    """Key of a vector by ordinal, of an outbox entry by number: u64."""
    return struct.pack(">Q", number)


def number_of(key: bytes) -> int:
    """The inverse of `number_key`; also the sequence that ends a member or history key."""
    return int(struct.unpack(">Q", key[-8:])[0])


def position_key(topic: str, partition: int) -> bytes:
    """Key of an input position."""
    return topic.encode() + b"\x00" + struct.pack(">I", partition)


def commands_read_key(topic: str, partition: int) -> bytes:
    """Key of up to where commands of a partition have been read; no id of a command begins with a zero byte."""
    return b"\x00read" + position_key(topic, partition)


AHEAD_KEY = b"\x00ahead"
MEET_PREFIX = b"\x00meet"


def position_of(key: bytes) -> tuple[str, int]:
    """The inverse of `position_key`."""
    return key[:-5].decode(), int(struct.unpack(">I", key[-4:])[0])


def waiting_key(kind: Kind, image_id: str) -> bytes:
    """Key of a half in the waiting room."""
    return _KIND_BYTE[kind] + image_id.encode()


def id_prefix(image_id: str) -> bytes:
    """Prefix of all member keys of a head, and of all history keys of an image."""
    encoded = image_id.encode()
    return struct.pack(">H", len(encoded)) + encoded


def after_prefix(prefix: bytes) -> bytes:
    """The first key after all those that begin with a prefix, which has a byte below 255."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes([kept[-1] + 1])


def id_of(key: bytes) -> str:
    """The image id or head that a member or history key begins with."""
    return key[2:-8].decode()


def sequence_key(image_id: str, sequence: int) -> bytes:
    """Key of a member (by its head) or of a decision (by its image)."""
    return id_prefix(image_id) + number_key(sequence)


def hash_key(image_id: str) -> bytes:
    """Key that does not tell the id: BLAKE2b-128 of it."""
    return hashlib.blake2b(image_id.encode(), digest_size=16).digest()


def recent_key(head: str, sequence: int) -> bytes:
    """Key of a cluster in the list of recently changed ones, by the sequence that last changed it."""
    return number_key(_U64_MAX - sequence // RECENT_BLOCK) + head.encode()


def recent_block(key: bytes) -> bytes:
    """The block of a key made by `recent_key`; sorts newest first."""
    return key[:8]


def recent_head(key: bytes) -> str:
    """The head in a key made by `recent_key`."""
    return key[8:].decode()


def assignment_digest(image_id: str, head: str) -> int:
    """One image's share of the state digest: BLAKE2b-128 of image id, 0, head."""
    data = image_id.encode() + b"\x00" + head.encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=16).digest(), "little")


def digest_after(digest: bytes, joined: int, left: int = 0) -> bytes:
    """The state digest after assignments came (sum of their shares) and went.

    A sum modulo 2^128 does not depend on order, so two stores with the same image → head have the same digest
    however they came by it.
    """
    total = (int.from_bytes(digest, "little") + joined - left) % _DIGEST_MODULUS
    return total.to_bytes(16, "little")
