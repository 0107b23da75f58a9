"""`override`: what an operator lays down about images, acting at once and whenever they are decided again.

| argument | |
|---|---|
| `action` | `move`, `alone`, `forbid`, `remove` |
| `image_id` | of all but `remove` |
| `other_id` | `move`: the image it belongs with; `forbid`: the one it is kept apart from |
| `override_id` | of `remove` |
| `reason` | why, in the operator's words; optional |

The id of an override is that of its command. Removing one changes no cluster by itself.
"""

import time
from collections.abc import Mapping
from functools import partial

from neardup_platform.clusters.decision import Constraint
from neardup_platform.clusters.overrides import Action
from neardup_platform.clusters.rearrangement import Rearrangement
from neardup_platform.errors import NotFound
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.layout import Table, listed_under
from neardup_platform.store.writer import Batch
from neardup_platform.stream.control.command import BadCommand, Finish, Outcome, check_arguments
from neardup_platform.stream.corrections.ahead import delete_to_meet
from neardup_platform.stream.corrections.deciding_again import DecidingAgain, published
from neardup_platform.wire import neardup_pb2 as pb

NAME = "override"
MAX_REASON = 500

_ARGUMENTS = {
    "move": {"image_id", "other_id"},
    "alone": {"image_id"},
    "forbid": {"image_id", "other_id"},
    "remove": {"override_id"},
}
_ACTIONS = {"move": Action.LINK, "alone": Action.ALONE, "forbid": Action.FORBID}


class Override:
    """The handler."""

    def __init__(self, again: DecidingAgain) -> None:
        self._again = again
        self._overrides = again.overrides

    def __call__(self, command: pb.Command) -> Finish:
        """The first half.

        Raises:
            BadCommand: the arguments will not do.
        """
        asked = command.arguments.get("action", "")
        if asked not in _ARGUMENTS:
            raise BadCommand(f"action is {asked[:40]!r}, one of {sorted(_ARGUMENTS)} is expected")
        arguments = check_arguments(command, {"action"} | _ARGUMENTS[asked], {"reason"})
        if len(arguments.get("reason", "")) > MAX_REASON:
            raise BadCommand(f"the reason has {len(arguments['reason'])} characters, at most {MAX_REASON} are kept")
        if asked == "remove":
            return partial(self._remove, arguments["override_id"])
        return partial(self._lay_down, command, arguments)

    def _lay_down(self, command: pb.Command, arguments: Mapping[str, str]) -> Outcome:
        now_ms = time.time_ns() // 1_000_000
        new = store_pb.Override(
            override_id=command.command_id,
            action=_ACTIONS[arguments["action"]],
            image_id=arguments["image_id"],
            other_id=arguments.get("other_id", ""),
            reason=arguments.get("reason", ""),
            issued_by=command.issued_by,
            at_ms=now_ms,
        )
        for image_id in filter(None, (new.image_id, new.other_id)):
            self._again.known(image_id)
        self._overrides.check(new, self._head_of)
        plan = Rearrangement(self._again.store, now_ms, command.command_id)
        self._act(plan, new)
        change = plan.complete()

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            new.sequence = state.sequence
            batch.put(Table.OVERRIDES, new.override_id.encode(), new.SerializeToString())
            change.write(batch, state)

        def apply() -> None:
            self._overrides.put(new)
            self._again.pipeline.corpus.follow(change.steps)

        values = {
            "override_id": new.override_id,
            "action": arguments["action"],
            "image_id": new.image_id,
            "head": plan.image(new.image_id).head,
            "decisions": str(len(change.decisions)),
        }
        return Outcome(values, published(change), write, apply)

    def _head_of(self, image_id: str) -> str | None:
        record = self._again.store.images.find(image_id)
        return None if record is None else record.head

    def meet(self, override_id: str) -> Outcome:
        """Act again upon an override that was laid down in a store that another one has replaced (ahead.py)."""
        override, now_ms = self._overrides.get(override_id), time.time_ns() // 1_000_000
        plan = Rearrangement(self._again.store, now_ms, override_id)
        named = () if override is None else filter(None, (override.image_id, override.other_id))
        if override is not None and all(self._again.store.images.find(image_id) is not None for image_id in named):
            self._act(plan, override)
        change = plan.complete()

        def write(batch: Batch, state: store_pb.StoreState) -> None:
            change.write(batch, state)
            delete_to_meet(batch, override_id)

        return Outcome({}, published(change), write, partial(self._again.pipeline.corpus.follow, change.steps))

    def _act(self, plan: Rearrangement, new: store_pb.Override) -> None:
        match new.action:
            case Action.LINK:
                self._link(plan, new)
            case Action.ALONE:
                self._alone(plan, new)
            case _:
                self._forbid(plan, new)

    def _link(self, plan: Rearrangement, new: store_pb.Override) -> None:
        """It leads its group, because it was linked to none; of the group those that are not there come, too."""
        follow = {
            member: own.override_id
            for member in self._again.known_group(new.image_id)
            if (own := self._overrides.own(member)) is not None
        }
        target = self._again.known(new.other_id).head
        self._again.bring(plan, {new.image_id: new.override_id, **follow}, target, new.at_ms)

    def _alone(self, plan: Rearrangement, new: store_pb.Override) -> None:
        head, group = self._again.known(new.image_id).head, self._again.known_group(new.image_id)
        there = sum(self._again.known(member).head == head for member in group)
        if head == new.image_id and self._again.store.clusters.get(head).size == there:
            self._again.bring_group(plan, group, new.at_ms)
        else:
            self._again.move(plan, group, Constraint(alone=True, override_id=new.override_id), new.at_ms)

    def _forbid(self, plan: Rearrangement, new: store_pb.Override) -> None:
        """The later of the two goes with its group, but a head stays; a leader that is elsewhere has them come."""
        one, other = self._again.known(new.image_id), self._again.known(new.other_id)
        if one.head != other.head:
            return
        goes, stays = new.image_id, new.other_id
        if listed_under(one) < listed_under(other):
            goes, stays = stays, goes
        if one.head in self._again.known_group(goes):
            goes, stays = stays, goes
        group = self._again.known_group(goes)
        barred = self._overrides.barred(goes, self._again.head_of)
        apart = [self._again.head_of(member) for member in self._again.known_group(stays)]
        barred |= dict.fromkeys((head for head in apart if head is not None), new.override_id)
        if self._again.head_of(group[0]) in barred:
            self._again.move(plan, group, Constraint(barred=barred), new.at_ms)
        else:
            self._again.bring_group(plan, group, new.at_ms)

    def _remove(self, override_id: str) -> Outcome:
        found = self._overrides.get(override_id)
        if found is None:
            raise NotFound(f"there is no override {override_id[:128]!r}: `neardup override list` shows them")

        def write(batch: Batch, _state: store_pb.StoreState) -> None:
            batch.delete(Table.OVERRIDES, override_id.encode())

        values = {"override_id": override_id, "action": "remove", "image_id": found.image_id}
        return Outcome(values, write=write, apply=partial(self._overrides.remove, override_id))
