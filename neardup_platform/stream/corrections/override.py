"""`override`: an operator's correction, effective at once and whenever its images are decided again.

The id of an override is that of its command. Removing one changes no cluster by itself.
"""

from functools import partial

from neardup_platform.clock import Clock
from neardup_platform.clusters.change import Change
from neardup_platform.clusters.decision import Constraint
from neardup_platform.clusters.overrides import Action
from neardup_platform.clusters.rearrangement import Rearrangement
from neardup_platform.errors import NotFound
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table, listed_under
from neardup_platform.store.writer import Batch
from neardup_platform.stream.control.outcome import Done, Finish
from neardup_platform.stream.corrections.redeciding import Redeciding
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import (
    AloneArguments,
    ForbidArguments,
    MoveArguments,
    OverrideArguments,
    RemoveArguments,
)

_ACTIONS = {"move": Action.LINK, "alone": Action.ALONE, "forbid": Action.FORBID}


class Override:
    """The handler."""

    def __init__(self, redeciding: Redeciding, clock: Clock) -> None:
        self._redeciding, self._clock = redeciding, clock
        self._overrides = redeciding.overrides

    def __call__(self, command: pb.Command, arguments: OverrideArguments) -> Finish:
        """See `Handler`."""
        match arguments:
            case RemoveArguments(override_id=override_id):
                return partial(self._remove, override_id)
            case MoveArguments() | AloneArguments() | ForbidArguments():
                return partial(self._add, command, arguments)
            case _:
                raise TypeError(f"{type(arguments).__name__} names no action")

    def _add(self, command: pb.Command, arguments: MoveArguments | AloneArguments | ForbidArguments) -> Done:
        new = store_pb.Override(
            override_id=command.command_id,
            action=_ACTIONS[arguments.action],
            image_id=arguments.image_id,
            other_id="" if isinstance(arguments, AloneArguments) else arguments.other_id,
            reason=arguments.reason,
            issued_by=command.issued_by,
            at_ms=self._clock.now_ms(),
        )
        for image_id in filter(None, (new.image_id, new.other_id)):
            self._redeciding.known(image_id)
        self._overrides.check(new, self._head_id_of)
        plan = Rearrangement(self._redeciding.store, new.at_ms, command.command_id)
        self._plan(plan, new)
        change = plan.complete()

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            new.sequence = state.sequence
            batch.put(Table.OVERRIDES, new.override_id.encode(), new.SerializeToString())
            change.write(batch, state)

        def apply() -> None:
            self._overrides.put(new)
            self._redeciding.pipeline.corpus.follow(change.steps)

        values = {
            "override_id": new.override_id,
            "action": arguments.action,
            "image_id": new.image_id,
            "head": plan.image(new.image_id).head,
            "decisions": str(len(change.decisions)),
        }
        return Done(values, write, apply, change.decisions)

    def _head_id_of(self, image_id: str) -> str | None:
        record = self._redeciding.store.images.find(image_id)
        return None if record is None else record.head

    def apply_again(self, override_id: str) -> Change:
        """Apply an override that was added to a store which another one has replaced (deferred_overrides.py)."""
        override = self._overrides.get(override_id)
        plan = Rearrangement(self._redeciding.store, self._clock.now_ms(), override_id)
        named = () if override is None else filter(None, (override.image_id, override.other_id))
        if override is not None and all(self._redeciding.store.images.find(image_id) is not None for image_id in named):
            self._plan(plan, override)
        return plan.complete()

    def _plan(self, plan: Rearrangement, new: store_pb.Override) -> None:
        match new.action:
            case Action.LINK:
                self._plan_link(plan, new)
            case Action.ALONE:
                self._plan_alone(plan, new)
            case _:
                self._plan_forbid(plan, new)

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
            self._redeciding.move(plan, group, Constraint(barred=barred), new.at_ms)
        else:
            self._redeciding.bring_group(plan, group, new.at_ms)

    def _remove(self, override_id: str) -> Done:
        found = self._overrides.get(override_id)
        if found is None:
            raise NotFound(f"there is no override {override_id[:128]!r}: `neardup override list` shows them")

        def write(batch: Batch, _state: store_pb.StoreState) -> None:
            batch.delete(Table.OVERRIDES, override_id.encode())

        values = {"override_id": override_id, "action": "remove", "image_id": found.image_id}
        return Done(values, write, partial(self._overrides.remove, override_id))
