"""`override`: an operator's correction, effective at once and whenever its images are decided again.

The id of an override is that of its command. Removing one changes no cluster by itself.
"""

from collections import Counter
from collections.abc import Collection
from functools import partial

from neardup_platform.clock import Clock
from neardup_platform.clusters.change import Change
from neardup_platform.clusters.override_conflicts import check
from neardup_platform.clusters.override_terms import Action, named, together
from neardup_platform.clusters.rearrangement import Rearrangement
from neardup_platform.errors import Conflict, NotFound
from neardup_platform.records import Cause
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table
from neardup_platform.store.writer import Batch
from neardup_platform.stream.control.outcome import Done, Finish
from neardup_platform.stream.corrections.override_plans import OverridePlans
from neardup_platform.stream.corrections.redeciding import Redeciding
from neardup_platform.stream.corrections.whole_clusters import WholeClusters
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.command_arguments import (
    AddArguments,
    AloneArguments,
    ForbidArguments,
    MergeArguments,
    MoveArguments,
    OverrideArguments,
    QuarantineArguments,
    RemoveArguments,
    SplitArguments,
)

_ACTIONS = {"move": Action.LINK}


class Override:
    """The handler."""

    def __init__(self, redeciding: Redeciding, clock: Clock) -> None:
        self._redeciding, self._clock = redeciding, clock
        self._overrides = redeciding.overrides
        self._plans, self._whole = OverridePlans(redeciding), WholeClusters(redeciding)

    def __call__(self, command: pb.Command, arguments: OverrideArguments) -> Finish:
        """See `Handler`."""
        match arguments:
            case RemoveArguments(override_id=override_id):
                return partial(self._remove, override_id)
            case AddArguments():
                return partial(self._add, command, arguments)
            case _:
                raise TypeError(f"{type(arguments).__name__} names no action")

    def _add(self, command: pb.Command, arguments: AddArguments) -> Done:
        new = store_pb.Override(
            override_id=command.command_id,
            action=_ACTIONS.get(arguments.action, arguments.action),
            reason=arguments.reason,
            issued_by=command.issued_by,
            at_ms=self._clock.now_ms(),
        )
        merged = self._name(new, arguments)
        check(self._overrides, new, self._head_id_of, merged)
        plan = Rearrangement(self._redeciding.store, new.at_ms, command.command_id)
        before = plan.clusters
        self._plans.plan(plan, new)
        self._whole.complete(new, plan)
        change = plan.complete()

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            new.sequence = state.sequence
            batch.put(Table.OVERRIDES, new.override_id.encode(), new.SerializeToString())
            change.write(batch, state)

        def apply() -> None:
            self._overrides.put(new)
            self._redeciding.pipeline.corpus.follow(change.steps)

        moved = len(merged) or Counter(made.cause for made in change.decisions)[Cause.OVERRIDE]
        values = {
            "override_id": new.override_id,
            "action": arguments.action,
            "image_id": new.image_id,
            "head": plan.image(new.image_id).head,
            "decisions": str(len(change.decisions)),
            "moved": str(moved),
            "clusters_before": str(before),
            "clusters": str(plan.clusters),
        }
        return Done(values, write, apply, change.decisions)

    def _name(self, new: store_pb.Override, arguments: AddArguments) -> Collection[str]:
        """Name the images that an override is about; returns the members that a merge moves.

        Raises:
            NotFound: an image is unknown.
            Conflict: they are not in the clusters that the override needs.
        """
        match arguments:
            case MergeArguments():
                return self._whole.name_merge(new, arguments.image_id, arguments.other_id)
            case SplitArguments():
                self._whole.name_split(new, arguments.image_id, arguments.image_ids)
            case MoveArguments() | ForbidArguments():
                new.image_id, new.other_id = arguments.image_id, arguments.other_id
            case AloneArguments() | QuarantineArguments():
                new.image_id = arguments.image_id
            case _:
                raise TypeError(f"{type(arguments).__name__} names no images")
        for image_id in named(new):
            self._redeciding.known(image_id)
        return ()

    def _head_id_of(self, image_id: str) -> str | None:
        record = self._redeciding.store.images.find(image_id)
        return None if record is None else record.head

    def apply_again(self, override_id: str) -> Change:
        """Apply an override that was added to a store which another one has replaced (deferred_overrides.py)."""
        override = self._overrides.get(override_id)
        plan = Rearrangement(self._redeciding.store, self._clock.now_ms(), override_id)
        if override is not None and self._can_act(override):
            self._plans.plan(plan, override)
        return plan.complete()

    def _can_act(self, override: store_pb.Override) -> bool:
        """Whether the images are known that an override is about; the others follow when they are decided."""
        if override.action == Action.SPLIT:
            return any(self._head_id_of(image_id) is not None for image_id in together(override))
        pair = filter(None, (override.image_id, override.other_id))
        return all(self._head_id_of(image_id) is not None for image_id in pair)

    def _remove(self, override_id: str) -> Done:
        found = self._overrides.get(override_id)
        if found is None:
            raise NotFound(f"there is no override {override_id[:128]!r}: `neardup override list` shows them")

        if found.bank:
            image_id = found.image_id
            raise Conflict(
                f"override {override_id!r} is the label of image {image_id!r} in bank {found.bank!r}: remove that, by "
                "`neardup bank remove`"
            )

        def write(batch: Batch, _state: store_pb.StoreState) -> None:
            batch.delete(Table.OVERRIDES, override_id.encode())

        values = {"override_id": override_id, "action": "remove", "image_id": found.image_id}
        return Done(values, write, partial(self._overrides.remove, override_id))
