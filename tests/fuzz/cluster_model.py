"""An independent model of clusters: simple tables in memory, and what each correction does to them.

The model is given what search and scoring found: candidates, scores, and which images are searched. Everything else
follows from the rules in docs/how-it-works.md and docs/adr/0010, implemented here a second time: where images go, and
what is handed over, listed, redirected, counted and recorded.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field

from numpy.typing import NDArray

Edge = tuple[str, str, str]  # action, image, other
Found = list[tuple[str, float]]
Score = Callable[[NDArray, NDArray], float]


@dataclass
class Image:
    """A decided image. `listed` is its place in its cluster, `found` its candidates with scores."""

    head: str
    ordinal: int
    sequence: int
    listed: int
    time_ms: int
    found: Found
    vector: NDArray
    earlier: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Made:
    """A decision in the history."""

    head: str
    cause: str
    by: str
    replaced: str = ""


class Clusters:
    """The tables, with one method for each change.

    Args:
        score: returns the pair score of two vectors.
    """

    MATCH, AGREES = 0.9, 0.8

    def __init__(self, score: Score) -> None:
        self.score = score
        self.images: dict[str, Image] = {}
        self.searched: dict[str, list[str]] = {}
        self.updated: dict[str, int] = {}
        self.redirects: dict[str, str] = {}
        self.history: dict[str, dict[int, Made]] = {}
        self.overrides: dict[str, Edge] = {}
        self.forgotten: dict[str, int] = {}
        self.sequence = self.ordinals = self.renamed = self.forgettings = 0
        self._redirected: set[str] = set()

    def copy(self) -> "Clusters":
        twin = Clusters(self.score)
        twin.__dict__ |= {name: deepcopy(value) for name, value in self.__dict__.items() if name != "score"}
        return twin

    def members(self, head: str) -> list[str]:
        return sorted(
            (i for i, image in self.images.items() if image.head == head), key=lambda i: self.images[i].listed
        )

    @property
    def heads(self) -> list[str]:
        return sorted({image.head for image in self.images.values()})

    # Overrides

    def own(self, image_id: str) -> str | None:
        return next((o for o, (a, i, _) in sorted(self.overrides.items()) if i == image_id and a != "forbid"), None)

    def linked(self, image_id: str) -> list[str]:
        """Return its group, nearest first."""
        found = [image_id]
        for one in found:
            links = [(o, e) for o, e in sorted(self.overrides.items()) if e[0] == "link" and one in e[1:]]
            for _, (_, a, b) in links:
                found += [i for i in (a, b) if i not in found]
        return found

    def leader(self, image_id: str) -> str:
        while (own := self.own(image_id)) is not None and self.overrides[own][0] == "link":
            image_id = self.overrides[own][2]
        return image_id

    def group(self, image_id: str) -> list[str]:
        return [i for i in self.linked(self.leader(image_id)) if i in self.images]

    def kept_apart(self, image_id: str) -> dict[str, str]:
        """Return the images that the group must not be with, and the override for each."""
        return {
            far: override
            for near in self.linked(image_id)
            for override, (action, a, b) in sorted(self.overrides.items())
            if action == "forbid" and near in (a, b)
            for far in self.linked(b if near == a else a)
        }

    def barred(self, image_id: str) -> dict[str, str]:
        return {self.images[i].head: by for i, by in self.kept_apart(image_id).items() if i in self.images}

    def contradicts(self, action: str, image_id: str, other: str = "") -> bool:
        if image_id == other:
            return True
        if action == "forbid":
            known = [{a, b} for kind, a, b in self.overrides.values() if kind == "forbid"]
            return {image_id, other} in known or other in self.linked(image_id)
        if self.own(image_id) is not None:
            return True
        if action == "alone":
            return False
        target, there = self.images[other].head, self.linked(other)
        apart = self.kept_apart(image_id)
        at_target = [i for i in apart if i in self.images and self.images[i].head == target]
        return other in self.linked(image_id) or bool(at_target) or any(i in there for i in apart)

    def constraint(self, image_id: str) -> tuple[str, str, dict[str, str]]:
        """Return what overrides require of a decision: a head, `alone` or nothing; the override; barred heads."""
        own = self.own(image_id)
        if own is not None and self.overrides[own][0] == "alone":
            return "alone", own, {}
        for other in self.linked(image_id)[1:]:
            if other in self.images:
                own_or_other = own if own is not None else self.own(other)
                assert own_or_other is not None
                return self.images[other].head, own_or_other, {}
        return "", "", self.barred(image_id)

    def choose(self, image_id: str, found: Found, barred: dict[str, str]) -> tuple[str, str]:
        """Return the head that an image joins by its matches, or its own id, and the override that applied."""
        known = [(self.images[i], score) for i, score in found if i in self.images]
        matches = [(-score, other.ordinal, other.head) for other, score in known if score >= self.MATCH]
        by, seen = "", set()
        for _, _, head in sorted(matches):
            if head in seen or head == image_id:
                continue
            seen.add(head)
            if self.score(self.images[image_id].vector, self.images[head].vector) < self.AGREES:
                continue
            if head not in barred:
                return head, by
            by = by or barred[head]
        return image_id, by

    # Changes

    def decide(
        self, image_id: str, time_ms: int, found: Found, vector: NDArray, *, searched: bool, cause: str = ""
    ) -> None:
        """Decide a new image."""
        where, by, barred = self.constraint(image_id)
        image = Image("", self.ordinals, 0, 0, time_ms, found, vector)
        self.images[image_id] = image
        self.ordinals += 1
        image.head = image_id if where == "alone" else where
        if not where:
            image.head, by = self.choose(image_id, found, barred)
        if image.head == image_id:
            self.redirects.pop(image_id, None)
            self.searched[image_id] = []
        if searched:
            self.searched[image.head].append(image_id)
        self._decided(image_id, cause, by)
        image.listed = image.sequence

    def add_override(self, override_id: str, action: str, image_id: str, other: str) -> None:
        if action == "link":
            self._link(override_id, image_id, other)
        elif action == "alone":
            self._alone(override_id, image_id)
        else:
            self._forbid(override_id, image_id, other)
        self.overrides[override_id] = (action, image_id, other)

    def _link(self, override_id: str, image_id: str, other: str) -> None:
        target, group = self.images[other].head, self.group(image_id)
        self._move([i for i in group if self.images[i].head != target], target, override_id, {image_id: override_id})

    def _alone(self, override_id: str, image_id: str) -> None:
        group, head = self.group(image_id), self.images[image_id].head
        if head == image_id and all(i in group for i in self.members(head)):
            self._gather(group, override_id)
        else:
            self._move(group, image_id, override_id, {image_id: override_id})

    def _forbid(self, override_id: str, image_id: str, other: str) -> None:
        head = self.images[image_id].head
        if head != self.images[other].head:
            return
        first, second = sorted((image_id, other), key=lambda i: self.images[i].listed)
        goes, stays = (first, second) if head in self.group(second) else (second, first)
        barred = self.barred(goes)
        for i in self.group(stays):
            barred[self.images[i].head] = override_id
        group = self.group(goes)
        if self.images[group[0]].head not in barred:
            self._gather(group, override_id)
            return
        where, by = self.choose(group[0], self.images[group[0]].found, barred)
        apart = [i for i in group if where == group[0] or self.images[i].head != where]
        self._move(apart, where, override_id, {group[0]: by})

    def _gather(self, group: list[str], command: str) -> None:
        """Move a group into the cluster of its first image."""
        target = self.images[group[0]].head
        self._move([i for i in group if self.images[i].head != target], target, command, {})

    def _move(self, images: list[str], target: str, command: str, by: dict[str, str]) -> None:
        """Move images to a head. `by` has the override behind some moves; the others move by their own link."""
        searched = self._depart(images, command)
        for i in images:
            self._place(i, target, by.get(i, self.own(i) or ""), searched)

    def _depart(self, images: list[str], command: str) -> set[str]:
        """Take images out of their clusters, hand these over, and return which of the images are searched."""
        searched = set()
        was = {i: self.images[i].head for i in images}
        for i, head in was.items():
            if i in self.searched[head]:
                self.searched[head].remove(i)
                searched.add(i)
            self.images[i].head = f"left {head}"
        for head in dict.fromkeys(was.values()):
            left = self.members(head)
            if not left:
                del self.searched[head], self.updated[head]
            elif head not in left:
                self._hand_over(head, left, command)
        return searched

    def _hand_over(self, old: str, left: list[str], command: str) -> None:
        searched = self.searched.pop(old)
        del self.updated[old]
        if not searched:
            searched = [left[0]]
            self._index_again(left[0])
        new = searched[0]
        for i in left:
            self.images[i].head = new
        self.searched[new] = searched
        self.redirects.pop(new, None)
        self._redirect(old, new)
        self._decided(new, "handover", command, old)

    def _place(self, image_id: str, head: str, by: str, searched: set[str]) -> None:
        image = self.images[image_id]
        was = image.head.removeprefix("left ")
        if head == image_id:
            self.searched[head] = []
            self.redirects.pop(head, None)
            if image_id not in searched:
                self._index_again(image_id)
                searched.add(image_id)
        image.head = head
        if image_id in searched:
            self.searched[head].append(image_id)
        self._decided(image_id, "override", by)
        image.listed = image.sequence
        if was not in self.searched and was not in self._redirected:
            self._redirect(was, head)

    def _redirect(self, old: str, head: str) -> None:
        self.redirects[old] = head
        self._redirected.add(old)
        self.renamed += 1

    def _index_again(self, image_id: str) -> None:
        image = self.images[image_id]
        image.earlier.append(image.ordinal)
        image.ordinal = self.ordinals
        self.ordinals += 1

    def _decided(self, image_id: str, cause: str, by: str, replaced: str = "") -> None:
        self.sequence += 1
        image = self.images[image_id]
        image.sequence = self.updated[image.head] = self.sequence
        self.history.setdefault(image_id, {})[self.sequence] = Made(image.head, cause, by, replaced)

    def begin(self) -> None:
        """Prepare for the next step."""
        self._redirected = set()

    def forget(self, image_id: str, upto_ms: int, command: str) -> None:
        self._drop(image_id, command)
        self.forgotten[image_id] = max(upto_ms, self.forgotten.get(image_id, 0))
        self.forgettings += 1
        self.overrides = {o: edge for o, edge in self.overrides.items() if image_id not in edge[1:]}

    def _drop(self, image_id: str, command: str) -> None:
        self._depart([image_id], command)
        del self.images[image_id], self.history[image_id]
        self.sequence += 1

    def re_embed(self, image_id: str, found: Found, vector: NDArray, *, searched: bool) -> None:
        """Give an image other vectors. A head with members stays; overrides decide before scores; others may move."""
        image = self.images[image_id]
        where, by, barred = self.constraint(image_id)
        self._index_again(image_id)
        image.vector = vector
        if image.head == image_id and len(self.members(image_id)) > 1:
            head, by = image_id, ""
        elif where:
            head = image_id if where == "alone" else where
        else:
            head, by = self.choose(image_id, found, barred)
        image.found, stays = found, head == image.head
        if not stays:
            self._depart([image_id], "")
            if head == image_id:
                self.searched[head] = []
                self.redirects.pop(head, None)
        was, image.head = image.head.removeprefix("left "), head
        if image_id in self.searched[head] and not searched:
            self.searched[head].remove(image_id)
        if searched and image_id not in self.searched[head]:
            self.searched[head].append(image_id)
        self._decided(image_id, "re-embedded", by)
        if not stays:
            image.listed = image.sequence
            if was not in self.searched:
                self._redirect(was, head)

    def reprocess(self, found: dict[str, Found], searched: set[str]) -> "Clusters":
        """Decide all images again in their order. History and redirects stay; every ordinal reserves a number."""
        then = Clusters(self.score)
        for name in ("overrides", "forgotten", "history", "redirects", "renamed", "forgettings", "sequence"):
            setattr(then, name, deepcopy(getattr(self, name)))
        for image_id, old in sorted(self.images.items(), key=lambda item: item[1].ordinal):
            then.decide(
                image_id,
                old.time_ms,
                found[image_id],
                old.vector,
                searched=image_id in searched,
                cause="reprocess",
            )
            if old.head == image_id != then.images[image_id].head:
                then._redirect(image_id, then.images[image_id].head)
        then.sequence = self.sequence + self.ordinals
        return then

    def go_back(self, to: "Clusters", command: str) -> "Clusters":
        """Return the tables after a rollback: those of the snapshot, with the overrides and forgotten images of now."""
        then = to.copy()
        then.begin()
        then.overrides, then.forgotten = dict(self.overrides), dict(self.forgotten)
        then.sequence, then.forgettings = max(then.sequence, self.sequence), self.forgettings
        upto = then.forgotten
        for image_id in sorted(i for i, image in then.images.items() if image.time_ms <= upto.get(i, 0)):
            then._redirected = set()
            then._drop(image_id, command)
        then._compensate(self, command)
        return then

    def _compensate(self, present: "Clusters", command: str) -> None:
        """Number what a rollback publishes: images in another cluster than at present, then images unknown now."""
        heads = {image_id: image.head for image_id, image in present.images.items()}
        for image_id in sorted(self.images):
            image = self.images[image_id]
            if image.head != heads.get(image_id):
                self.sequence += 1
                image.sequence = self.sequence
                self.history[image_id][self.sequence] = Made(image.head, "rollback", command)
        self.sequence += len(heads.keys() - self.images.keys())
