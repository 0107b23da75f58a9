"""Reads commands and what they left behind: results, progress, promotions, overrides and labels."""

from collections.abc import Iterator
from itertools import islice

from neardup_platform.store import layout
from neardup_platform.store.layout import Table
from neardup_platform.store.store_pb2 import CommandProgress, CommandRecord, LabelRecord, Move, Override, Promotion
from neardup_platform.store.tables import Tables


class CommandReader:
    """Handled commands, and the progress of long ones."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def find(self, command_id: str) -> CommandRecord | None:
        """Return the record of a handled command; None if it was not handled, or too long ago."""
        data = self._tables.get(Table.COMMANDS, command_id.encode())
        return CommandRecord.FromString(data) if data is not None else None

    def final(self, command_id: str) -> CommandRecord | None:
        """Return the record of a command that is not carried out again; None if there is none.

        One that was refused temporarily is carried out when it is sent again.
        """
        found = self.find(command_id)
        return None if found is not None and found.result.temporary else found

    def id_of(self, number: int) -> str | None:
        """Return the id of the command that was handled as this number; None if its record was dropped."""
        data = self._tables.get(Table.COMMAND_ORDER, layout.number_key(number))
        return data.decode() if data is not None else None

    def progress(self, command_id: str) -> CommandProgress | None:
        """Return how far a command has come; None before its first stage and once it has a result."""
        data = self._tables.get(Table.PROGRESS, command_id.encode())
        return CommandProgress.FromString(data) if data is not None else None

    def read_offset(self, partition: tuple[str, int]) -> int:
        """Return the offset up to which the commands of a partition were read and checked for their age."""
        data = self._tables.get(Table.PROGRESS, layout.commands_read_key(*partition))
        return CommandProgress.FromString(data).done if data is not None else 0

    def handled_ahead(self) -> CommandProgress:
        """Return the long command that others overtook last (`of`), and the last command number before (`done`)."""
        return CommandProgress.FromString(self._tables.get(Table.PROGRESS, layout.AHEAD_KEY) or b"")

    def moves(self, command_id: str, after: int = 0) -> Iterator[tuple[int, Move]]:
        """Yield the images that a `redecide` has moved, each with the sequence of its decision, in their order.

        Args:
            after: only those of higher sequences.
        """
        prefix, start = layout.id_prefix(command_id), layout.sequence_key(command_id, after + 1)
        for key, value in self._tables.scan(Table.MOVES, prefix, start):
            yield layout.number_of(key), Move.FromString(value)

    def movers(self) -> list[tuple[int, str]]:
        """Return the commands whose moves are kept, oldest first, each with the last sequence before it."""
        prefix = layout.MOVERS_PREFIX
        return [
            (layout.number_of(key), value.decode()) for key, value in self._tables.scan(Table.MOVES, prefix, prefix)
        ]

    def promotions(self) -> list[Promotion]:
        """Return every change of classifier, oldest first."""
        return [Promotion.FromString(value) for _, value in self._tables.scan(Table.PROMOTIONS)]


class OverrideReader:
    """Active overrides."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def all(self) -> list[Override]:
        """Return every override, oldest first."""
        found = [Override.FromString(value) for _, value in self._tables.scan(Table.OVERRIDES)]
        return sorted(found, key=lambda override: (override.at_ms, override.override_id))

    def deferred(self) -> list[str]:
        """Return the ids of overrides accepted while this store was built, and not yet applied to it."""
        prefix = layout.DEFERRED_PREFIX
        return [key[len(prefix) :].decode() for key, _ in self._tables.scan(Table.PROGRESS, prefix, prefix)]


class LabelReader:
    """Labels of images, by bank."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def find(self, bank: str, image_id: str) -> LabelRecord | None:
        """Return the label of an image in a bank, or None."""
        data = self._tables.get(Table.LABELS, layout.label_key(bank, image_id))
        return LabelRecord.FromString(data) if data is not None else None

    def all(self) -> list[LabelRecord]:
        """Return every label, oldest first."""
        # The bytes of a bank's name are all greater than those of the key that is no label.
        rows = self._tables.scan(Table.LABELS, start=layout.after_prefix(layout.LABELS_CHANGED_KEY))
        found = [LabelRecord.FromString(value) for _, value in rows]
        return sorted(found, key=lambda record: (record.at_ms, record.label.label_id))

    def page(self, bank: str, limit: int, after: str = "") -> list[LabelRecord]:
        """Return labels of a bank, in order of image id, at most `limit`.

        Args:
            after: only those of later image ids.
        """
        prefix = layout.bank_prefix(bank)
        start = prefix + after.encode() + b"\x00" if after else prefix
        rows = self._tables.scan(Table.LABELS, prefix, start)
        return [LabelRecord.FromString(value) for _, value in islice(rows, limit)]

    def changed_by(self) -> tuple[int, int]:
        """Return the last command and sequence when a label was last changed; zeros if none ever was."""
        data = self._tables.get(Table.LABELS, layout.LABELS_CHANGED_KEY)
        changed = CommandProgress.FromString(data or b"")
        return changed.done, changed.counts.get("sequence", 0)


class HashReader:
    """PDQ hashes of banks: what an image gets whose hash is near, as a label without an image."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables

    def find_many(self, bank: str, hashes: list[bytes]) -> list[LabelRecord | None]:
        """Return the records of hashes in a bank, in the order of the hashes; None for those it does not have."""
        found = self._tables.get_many(Table.HASHES, [layout.hash_in_bank_key(bank, pdq) for pdq in hashes])
        return [LabelRecord.FromString(data) if data is not None else None for data in found]

    def all(self) -> Iterator[LabelRecord]:
        """Yield every hash, in order of bank and hash."""
        for _, value in self._tables.scan(Table.HASHES, start=layout.after_prefix(layout.HASH_COUNTS_PREFIX)):
            yield LabelRecord.FromString(value)

    def page(self, bank: str, limit: int, after: bytes = b"") -> list[LabelRecord]:
        """Return hashes of a bank, in order of hash, at most `limit`.

        Args:
            after: only later hashes.
        """
        prefix = layout.bank_prefix(bank)
        start = prefix + after + b"\x00" if after else prefix
        return [LabelRecord.FromString(value) for _, value in islice(self._scan(prefix, start), limit)]

    def counts(self) -> dict[str, int]:
        """Return the number of hashes in each bank that has any, by name."""
        prefix = layout.HASH_COUNTS_PREFIX
        return {
            key[len(prefix) :].decode(): CommandProgress.FromString(value).done
            for key, value in self._scan(prefix, prefix)
        }

    def _scan(self, prefix: bytes, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        return self._tables.scan(Table.HASHES, prefix, start)
