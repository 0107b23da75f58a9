"""The health of the platform: totals, freshness and the worker's heartbeat, for people, probes and metrics."""

import time
from typing import Literal

from neardup_platform.errors import BadArtefact
from neardup_platform.records import Kind
from neardup_platform.scoring.active_models import active_models
from neardup_platform.serving.answers.changes import Promotion, Promotions
from neardup_platform.serving.answers.health import ActiveModel, Check, Readiness, Shadow, Status, WorkerStatus
from neardup_platform.serving.rocksdb_follower import MAX_AGE_S, StoreFollower
from neardup_platform.serving.search_corpus import SearchCorpus
from neardup_platform.settings import Settings
from neardup_platform.store.shadow import current_shadow
from neardup_platform.supervise.heartbeat import Phase, paused_by, read_heartbeat


class HealthWatch:
    """Reads the store's follower, the worker's heartbeat and the state of the search."""

    def __init__(self, settings: Settings, follower: StoreFollower, corpus: SearchCorpus) -> None:
        self._home = settings.home
        self._stalled_s = settings.worker.stalled_s
        self._follower = follower
        self._corpus = corpus
        self._models = _models(settings)

    def status(self) -> Status:
        """Totals of the store and metrics of the worker.

        Raises:
            ServerUnavailable: there is no store yet.
        """
        with self._follower.reading() as store:
            state, positions = store.state(), store.positions.next_offsets()
            age_s = self._follower.age_s
        worker = self.worker()
        return Status(
            ready=self.readiness().ready,
            images=state.images,
            clusters=state.clusters,
            sequence=state.sequence,
            state_digest=state.digest.hex(),
            terms_version=state.terms_version,
            classifier_version=state.classifier_version or (worker.classifier_version if worker else ""),
            models=self._models,
            positions={f"{topic}[{number}]": offset for (topic, number), offset in positions.items()},
            paused_by=state.paused.by,
            paused_ms=state.paused.at_ms,
            in_shadow=current_shadow(state) is not None,
            shadows=[Shadow.of(shadow) for shadow in state.shadows],
            counters=dict(state.counters),
            refresh_age_ms=round(1_000 * age_s),
            worker=worker,
        )

    def readiness(self) -> Readiness:
        """Whether answers are current, and if not, why."""
        store = Check(ok=self._follower.is_open, detail=self._follower.problem or "open")
        freshness, worker = self._freshness(), self._worker_check()
        search = Check(ok=not self._corpus.problem, detail=self._corpus.problem or "ready")
        return Readiness(
            ready=store.ok and freshness.ok and worker.ok,
            checks={"store": store, "freshness": freshness, "worker": worker},
            search=search,
        )

    def worker(self) -> WorkerStatus | None:
        """The worker's last heartbeat, or None if there is none or its file is damaged."""
        try:
            heartbeat = read_heartbeat(self._home)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if heartbeat is None:
            return None
        now_ms = time.time_ns() // 1_000_000
        alive = heartbeat.alive(now_ms, self._stalled_s)
        return WorkerStatus.of(
            heartbeat,
            phase=heartbeat.phase if alive or not self._stopped else "paused",
            alive=alive,
            heartbeat_age_s=round(heartbeat.age_s(now_ms), 3),
            figures=heartbeat.metrics,
        )

    @property
    def paused(self) -> bool:
        """Whether someone has paused the worker, or the stream: then standing still is no fault."""
        worker = self.worker()
        return self._stopped or bool(worker and worker.figures.get("paused"))

    @property
    def _stopped(self) -> bool:
        """Whether someone has paused the worker, whose process ends then."""
        try:
            return paused_by(self._home) is not None
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def promotions(self) -> Promotions:
        """Every change of the classifier.

        Raises:
            ServerUnavailable: there is no store yet.
        """
        stored = self._follower.read(lambda store: store.commands.promotions())
        return Promotions(promotions=[Promotion.of(promotion) for promotion in reversed(stored)])

    @property
    def refresh_age_s(self) -> float:
        """Age in seconds of what readers see; inf before there is a store."""
        return self._follower.age_s

    def _freshness(self) -> Check:
        if not self._follower.is_open:
            return Check(ok=False, detail="nothing to read yet")
        age_s = self._follower.age_s
        detail = f"read {1_000 * age_s:.0f} ms ago"
        if age_s > MAX_AGE_S:
            reason = self._follower.problem or "the last refresh has not returned"
            return Check(ok=False, detail=f"{detail}, at most {1_000 * MAX_AGE_S:.0f}: {reason}")
        return Check(ok=True, detail=detail)

    def _worker_check(self) -> Check:
        worker = self.worker()
        if worker is None:
            return Check(ok=False, detail="no heartbeat of a worker yet: `neardup status` shows what runs")
        doing = f": {worker.progress}" if worker.progress else ""
        detail = f"{worker.phase}{doing}, heartbeat {worker.heartbeat_age_s:.1f} s ago"
        if worker.phase != Phase.RUNNING:
            return Check(ok=False, detail=detail)
        if not worker.alive:
            return Check(ok=False, detail=f"{detail}, at most {self._stalled_s:g} (worker.stalled_s)")
        return Check(ok=True, detail=detail)


def _models(settings: Settings) -> dict[Literal["lsh", "pair"], ActiveModel]:
    """Required models by kind; empty if the classifier cannot be read, which search and worker report themselves."""
    try:
        found = active_models(settings)
    except BadArtefact:
        return {}
    names: dict[Literal["lsh", "pair"], Kind] = {"lsh": Kind.LSH, "pair": Kind.PAIR}
    return {name: ActiveModel.of(found[kind]) for name, kind in names.items()}
