"""What an override changes at once: the images that move, planned over the clusters as they are."""

from dataclasses import replace

from neardup_platform.clusters.decision import Constraint
from neardup_platform.clusters.override_terms import Action, together
from neardup_platform.clusters.rearrangement import Rearrangement
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import listed_under
from neardup_platform.stream.corrections.redeciding import Redeciding
from neardup_platform.stream.corrections.whole_clusters import dissolved_first


class OverridePlans:
    """Plans overrides; they need not be active yet."""

    def __init__(self, redeciding: Redeciding) -> None:
        self._redeciding, self._overrides = redeciding, redeciding.overrides

    def plan(self, plan: Rearrangement, new: store_pb.Override) -> None:
        """Plan what an override changes now: nothing where it is met.

        Args:
            new: it names known images, of those that it keeps together at least one.
        """
        match new.action:
            case Action.LINK:
                self._plan_link(plan, new)
            case Action.ALONE:
                self._plan_alone(plan, new)
            case Action.FORBID:
                self._plan_forbid(plan, new)
            case Action.MERGE:
                self._plan_merge(plan, new)
            case Action.SPLIT:
                self._plan_split(plan, new)

    def _plan_link(self, plan: Rearrangement, new: store_pb.Override) -> None:
        """Move the image, which leads its group because it was linked to none, and members that are elsewhere."""
        follow = {
            member: own.override_id
            for member in self._redeciding.known_group(new.image_id)
            if (own := self._overrides.own(member)) is not None
        }
        target = self._redeciding.known(new.other_id).head
        self._redeciding.bring(plan, {new.image_id: new.override_id, **follow}, target, new.at_ms)

    def _plan_alone(self, plan: Rearrangement, new: store_pb.Override) -> None:
        """Move the image with its group out of its cluster, unless the group is all of it."""
        head, group = self._redeciding.known(new.image_id).head, self._redeciding.known_group(new.image_id)
        there = sum(self._redeciding.known(member).head == head for member in group)
        if head == new.image_id and self._redeciding.store.clusters.get(head).size == there:
            self._redeciding.bring_group(plan, group, new.at_ms)
        else:
            self._redeciding.move(plan, group, Constraint(alone=True, override_id=new.override_id), new.at_ms)

    def _plan_forbid(self, plan: Rearrangement, new: store_pb.Override) -> None:
        """Move the later of the two images with its group, or the other one where the later one's group has the head.

        A leader that is in another cluster brings its group there.
        """
        one, other = self._redeciding.known(new.image_id), self._redeciding.known(new.other_id)
        if one.head != other.head:
            return
        goes, stays = new.image_id, new.other_id
        if listed_under(one) < listed_under(other):
            goes, stays = stays, goes
        if one.head in self._redeciding.known_group(goes):
            goes, stays = stays, goes
        group = self._redeciding.known_group(goes)
        barred = self._overrides.barred(goes, self._redeciding.head_of)
        apart = [self._redeciding.head_of(member) for member in self._redeciding.known_group(stays)]
        barred |= dict.fromkeys((head for head in apart if head is not None), new.override_id)
        if self._redeciding.head_of(group[0]) in barred:
            split = self._overrides.split(goes)
            constraint = Constraint(alone=True, override_id=split) if split else Constraint(barred=barred)
            self._redeciding.move(plan, group, constraint, new.at_ms)
        else:
            self._redeciding.bring_group(plan, group, new.at_ms)

    def _plan_merge(self, plan: Rearrangement, new: store_pb.Override) -> None:
        """Move all members of one cluster into the other at once; the image that led them gets a decision."""
        one, other = self._redeciding.known(new.image_id).head, self._redeciding.known(new.other_id).head
        if one == other:
            return
        dissolved, kept = dissolved_first(self._redeciding, one, other)
        plan.merge(dissolved, kept)
        led = new.image_id if one == dissolved else new.other_id
        constraint = Constraint(self._redeciding.known(kept).ordinal, override_id=new.override_id)
        decision = self._redeciding.decide(led, constraint, new.at_ms)
        plan.restate(replace(decision, sequence=plan.next_sequence))

    def _plan_split(self, plan: Rearrangement, new: store_pb.Override) -> None:
        """Take the images, with those linked with them, into a cluster of their own."""
        group = [i for i in dict.fromkeys([*together(new), *self._overrides.group(new.image_id)]) if self._is_known(i)]
        heads = {self._redeciding.known(image_id).head for image_id in group}
        left = {self._redeciding.known(i).head for i in (new.other_id, *new.first_ids) if self._is_known(i)}
        if not group or (len(heads) == 1 and not heads & left):
            return
        own = {image_id: self._overrides.own(image_id) for image_id in group}
        by = {image_id: new.override_id if link is None else link.override_id for image_id, link in own.items()}
        self._redeciding.found(plan, by, new.at_ms)

    def _is_known(self, image_id: str) -> bool:
        return self._redeciding.store.images.find(image_id) is not None
