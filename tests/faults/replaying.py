"""A store decided again in its recorded order, by a pipeline of the test's own, and compared with it."""

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

from neardup_platform.corpus import Corpus
from neardup_platform.matching import Matching, PairScorer
from neardup_platform.pipeline import Pipeline
from neardup_platform.scoring.card import SHIPPED_FOLDER, read_card
from neardup_platform.scoring.vectors import MemoryVectors
from neardup_platform.settings import Settings
from neardup_platform.store.view import StoreView
from neardup_platform.store.writer import Store
from neardup_platform.stream.reprocess.replay import replay
from neardup_platform.terms.hyperplanes import load_term_space
from neardup_platform.terms.opening import open_index
from neardup_platform.wire import neardup_pb2 as pb
from tests.faults.light_worker import LightScorer
from tests.stream.worker_process import reading

# When, and by which classifier of those that score alike: not a matter of what was decided.
APART = ("decided_ms", "classifier_version")


def assert_replay_gives_the_same(settings: Settings, home: Path, batch: int, scorer: PairScorer | None = None) -> None:
    """Decide everything again in batches of that size; all decisions must be the same to the last bit."""
    with reading(settings) as reader:
        assert list(islice(differences_of_replay(settings, reader, home, batch, scorer or LightScorer()), 5)) == []


def differences_of_replay(
    settings: Settings, store: StoreView, home: Path, batch: int, scorer: PairScorer
) -> Iterator[str]:
    """What differs between a store and a replay of it in its recorded order."""
    with closing(Store(home / "store")) as target:
        replay(store, target, fresh_pipeline(settings, scorer), batch)
        if target.state().digest != store.state().digest:
            yield "the digest of the replay differs"
        for (image_id, _), (again, _) in zip(store.images.all(), target.images.all(), strict=True):
            if image_id != again or history(store, image_id) != history(target, again):
                yield f"{image_id} was decided otherwise by the replay"
        if members(target) != members(store):
            yield "the replay lists members otherwise"


def fresh_pipeline(settings: Settings, scorer: PairScorer) -> Pipeline:
    space, card = load_term_space(settings.terms.space), read_card(SHIPPED_FOLDER)
    index = open_index(None, space, settings.terms, "")
    corpus = Corpus(space, index, MemoryVectors(card.lsh_dim, card.pair_dim))
    return Pipeline(space, scorer, corpus, Matching.of(settings, scorer))


def decisions(store: StoreView) -> list[pb.Decision]:
    """In the order of deciding, without what may differ."""
    found = [decision for image_id, _ in store.images.all() for decision in history(store, image_id)]
    return sorted(found, key=lambda decision: decision.sequence)


def history(store: StoreView, image_id: str) -> list[pb.Decision]:
    """Of one image, oldest first, without what may differ."""
    found = [pb.Decision.FromString(value) for value in store.history.all(image_id)]
    for decision in found:
        for name in APART:
            decision.ClearField(name)
    return found


def members(store: StoreView) -> dict[str, tuple[str, ...]]:
    """Of each cluster, in the order they are listed."""
    return {head: store.members.page(head, cluster.size + 1).image_ids for head, cluster in store.clusters.all()}
