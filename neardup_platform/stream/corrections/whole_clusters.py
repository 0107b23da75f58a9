"""Names the images that a merge, a split or a quarantine is about, from the clusters as they are.

The larger of two merged clusters survives, the older of equal ones, because every member of the other is rewritten. A
merge links the heads of both, and a split names an image that stays, so that both are met when all images are decided
again. Each cluster then begins with the member of the lowest ordinal, which is named too where it is not the head.
"""

from collections.abc import Collection, Sequence

from neardup_platform.clusters.override_terms import Action
from neardup_platform.clusters.rearrangement import Rearrangement
from neardup_platform.errors import Conflict
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import listed_under
from neardup_platform.stream.corrections.redeciding import Redeciding

# A merge rewrites the record of every image that it moves in one write, during which the stream waits.
MAX_MERGED = 100_000
_SHOWN = 5


def dissolved_first(redeciding: Redeciding, one: str, other: str) -> tuple[str, str]:
    """Order the heads of two clusters: the one that a merge dissolves, then the one that survives."""
    clusters, images = redeciding.store.clusters, redeciding.store.images

    def standing(head: str) -> tuple[int, int]:
        record = images.find(head)
        return clusters.get(head).size, -(listed_under(record) if record is not None else 0)

    return (one, other) if standing(one) < standing(other) else (other, one)


class WholeClusters:
    """Fills in the records of overrides about clusters."""

    def __init__(self, redeciding: Redeciding) -> None:
        self._redeciding = redeciding

    def name_merge(self, new: store_pb.Override, one: str, other: str) -> list[str]:
        """Name what a merge of the clusters of two images is about; returns the members that will move.

        Raises:
            NotFound: an image is unknown.
            Conflict: they are in one cluster, or the smaller one has too many members.
        """
        heads = self._redeciding.known(one).head, self._redeciding.known(other).head
        if heads[0] == heads[1]:
            raise Conflict(f"{one!r} and {other!r} are in one cluster already, that of {heads[0]!r}")
        dissolved, kept = dissolved_first(self._redeciding, *heads)
        size = self._redeciding.store.clusters.get(dissolved).size
        if size > MAX_MERGED:
            raise Conflict(
                f"the smaller cluster, of {dissolved!r}, has {size:,} members, and a merge moves at most "
                f"{MAX_MERGED:,} at once"
            )
        new.image_id, new.other_id = self._leader(dissolved), self._leader(kept)
        firsts = dict.fromkeys(self._first(head) for head in (dissolved, kept))
        new.first_ids.extend(i for i in firsts if i not in (new.image_id, new.other_id) and self._is_free(i))
        return [member for _, member in self._redeciding.store.members.all(dissolved)]

    def name_split(self, new: store_pb.Override, image_id: str, image_ids: Sequence[str]) -> None:
        """Name what a split of listed images off the cluster of an image is about.

        The head of the new cluster is the oldest of the listed images that represent the cluster, or else the oldest.

        Raises:
            NotFound: an image is unknown.
            Conflict: the listed images are not all in the cluster, or are all of it.
        """
        head = self._redeciding.known(image_id).head
        records = {each: self._redeciding.known(each) for each in image_ids}
        elsewhere = [each for each, record in records.items() if record.head != head]
        if elsewhere:
            more = f" and {len(elsewhere) - _SHOWN} more" if len(elsewhere) > _SHOWN else ""
            raise Conflict(
                f"{len(elsewhere)} of the {len(records)} listed images are not in the cluster of {head!r}: "
                f"{', '.join(repr(each) for each in elsewhere[:_SHOWN])}{more}"
            )
        cluster = self._redeciding.store.clusters.get(head)
        if cluster.size == len(records):
            raise Conflict(f"the list is the whole cluster of {head!r}, so there is nothing to split")
        oldest = sorted(records, key=lambda each: (each not in cluster.representatives, listed_under(records[each])))
        first = next((each for each in oldest if self._is_free(each)), oldest[0])
        new.image_id, new.other_id = first, self._first(head, records.keys())
        new.image_ids.extend(each for each in oldest if each != first)

    def complete(self, new: store_pb.Override, plan: Rearrangement) -> None:
        """Let a split that is planned name the head of the images that stay, which may be another one now."""
        if new.action == Action.SPLIT and (head := plan.image(new.other_id).head) != new.other_id:
            new.first_ids.append(new.other_id)
            new.other_id = head

    def _leader(self, head: str) -> str:
        """Return the image that a head is linked with, if that is in its cluster."""
        leader = self._redeciding.overrides.leader(head)
        record = self._redeciding.store.images.find(leader)
        return head if record is None or record.head != head else leader

    def _is_free(self, image_id: str) -> bool:
        return self._redeciding.overrides.own(image_id) is None

    def _first(self, head: str, without: Collection[str] = ()) -> str:
        """Return the member of a cluster with the lowest ordinal, some not considered."""
        corpus = self._redeciding.pipeline.corpus
        ordinals = corpus.members_of(self._redeciding.known(head).ordinal)
        ids = (corpus.id_of(ordinal) for ordinal in ordinals.tolist())
        return next(image_id for image_id in ids if image_id not in without)
