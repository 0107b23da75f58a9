"""The stream worker between join and publish, in this process: no Kafka, no TensorFlow, no thread of its own."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self
from uuid import uuid4

from neardup_platform.clock import Clock, SystemClock
from neardup_platform.clusters.change import Change
from neardup_platform.clusters.overrides import Overrides
from neardup_platform.corpus import Corpus
from neardup_platform.matching import Matching
from neardup_platform.pipeline import Decided, Pipeline
from neardup_platform.records import Decision, Embedding, JoinedImage
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.writer import Store
from neardup_platform.stream.banks.label import AddLabel, RemoveLabel
from neardup_platform.stream.banks.label_hashes import AddHashes, RemoveHashes
from neardup_platform.stream.built_files import adopt
from neardup_platform.stream.checkpointing import Checkpointing
from neardup_platform.stream.commit import commit
from neardup_platform.stream.control.handled import Handled
from neardup_platform.stream.control.outcome import Done, Outcome, Stage
from neardup_platform.stream.corrections.forget import Forget
from neardup_platform.stream.corrections.override import Override
from neardup_platform.stream.corrections.re_embedding import decide_newer, vacate
from neardup_platform.stream.corrections.redeciding import Redeciding
from neardup_platform.stream.recovery import rebuild_corpus
from neardup_platform.stream.steps import CommandStep, RedecideStep, StreamStep
from neardup_platform.terms.hyperplanes import TermSpace
from neardup_platform.terms.index import TermIndex
from neardup_platform.terms.inherit_segments import inherit_segments
from neardup_platform.testing.pipeline import BLOCK_IMAGES, small_index, small_index_space, small_pipeline
from neardup_platform.testing.scorer import CosineScorer
from neardup_platform.wire import neardup_pb2 as pb
from neardup_platform.wire.codec import Message, decode_decision
from neardup_platform.wire.command_arguments import (
    ForgetArguments,
    LabelArguments,
    LabelHashesArguments,
    OverrideArguments,
    UnlabelArguments,
    UnlabelHashesArguments,
)
from neardup_platform.wire.topics import CONTROL

DECIDED_MS = 7


class InMemoryWorker:
    """Decides images and applies corrections as the stream worker does, over the same files.

    Opened over the home of an earlier one, it finds everything that one committed, as after a restart. One that is
    dropped without `close` stands for a process that was killed.

    Args:
        home: folder of the store, the vectors and the term index, as `NEARDUP_HOME` has them.
        space: hashes the images; None takes the small one.
        scorer: scores pairs and names the models of the embeddings.
        matching: limits and thresholds; None takes those of `small_pipeline`.
        open_index: opens the term index of a store by its id, in a folder.
        clock: gives commands and commits their time; None takes that of this machine.

    Attributes:
        store: the store.
        pipeline: decides.
        redeciding: decides known images again.
        override_handler, forget_handler, label_handler, unlabel_handler, label_hashes_handler, unlabel_hashes_handler:
            handle those commands.
    """

    def __init__(
        self,
        home: Path,
        *,
        space: TermSpace | None = None,
        scorer: CosineScorer | None = None,
        matching: Matching | None = None,
        open_index: Callable[[str, Path], TermIndex] = small_index,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or SystemClock()
        space, scorer = space or small_index_space(), scorer or CosineScorer()
        self.store = Store(home / "store")
        self._vectors_path = vectors = home / "vectors"
        index, store_id = home / "index", self.store.state().store_id
        adopt(home / "store", store_id, scorer.required_models, vectors, space.index_version, index)
        corpus = rebuild_corpus(
            self.store,
            space,
            scorer.required_models,
            lambda source: open_index(source, index),
            vectors,
            inherit_terms=partial(inherit_segments, index, space.index_version, block_images=BLOCK_IMAGES),
            loads=home / "loads",
        )
        matching = matching or small_pipeline(corpus, scorer=scorer).matching
        self.pipeline = Pipeline(space, scorer, corpus, matching)
        self.redeciding = Redeciding(self.store, self.pipeline, Overrides(self.store.overrides.all()))
        self.override_handler = Override(self.redeciding, self._clock)
        self.forget_handler = Forget(self.store, self.redeciding, self._clock, _nothing_else)
        self.label_handler, self.unlabel_handler = AddLabel(self.redeciding, self._clock), RemoveLabel(self.redeciding)
        self.label_hashes_handler = AddHashes(self.redeciding, self._clock)
        self.unlabel_hashes_handler = RemoveHashes(self.redeciding)
        self._pending: list[Callable[[], None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def corpus(self) -> Corpus:
        """The images decided so far."""
        return self.pipeline.corpus

    @property
    def index(self) -> TermIndex:
        """The term index."""
        return self.corpus.index

    def decide(self, images: Sequence[JoinedImage], size: int = 7, decided_ms: int = DECIDED_MS) -> None:
        """Decides and commits new images in steps of `size`."""
        for at in range(0, len(images), size):
            decided = self.decide_uncommitted(images[at : at + size], decided_ms)
            self._commit(StreamStep(decided=decided))

    def decide_uncommitted(self, images: Sequence[JoinedImage], decided_ms: int = DECIDED_MS) -> list[Decided]:
        """Decides new images and commits nothing, like a worker that is killed before the commit."""
        constraints = self.redeciding.constraints()
        return self.pipeline.decide(images, self.store.state().sequence + 1, decided_ms, constraints)

    def run_command(self, name: str, *, command_id: str = "", apply: bool = True, **arguments: str) -> pb.CommandResult:
        """Runs an `override`, `label`, `unlabel`, `label-hashes`, `unlabel-hashes` or `forget` command.

        Args:
            name: of the command.
            command_id: empty gives it one.
            apply: False commits it and changes nothing in memory, like a worker that is killed right after the commit;
                see `apply_pending`.
            arguments: of the command.

        Raises:
            NeardupError: the command is refused; the text says why.
        """
        command = pb.Command(
            command_id=command_id or uuid4().hex,
            name=name,
            arguments=arguments,
            issued_by="a test",
            issued_ms=self._clock.now_ms(),
        )
        outcome = self._handle(command, arguments)
        while isinstance(outcome, Stage):
            self._commit(CommandStep(Handled(Message(CONTROL, 0, 0, b"", b""), outcome=outcome)))
            outcome.apply()
            outcome = outcome.prepare()()
        if not isinstance(outcome, Done):
            raise TypeError(f"{name} is not done at once")
        return self.commit_outcome(command.command_id, outcome, apply=apply)

    def _handle(self, command: pb.Command, arguments: Mapping[str, str]) -> Outcome:
        match command.name:
            case ForgetArguments.command:
                return self.forget_handler(command, ForgetArguments.parse(arguments))()
            case LabelArguments.command:
                return self.label_handler(command, LabelArguments.parse(arguments))()
            case UnlabelArguments.command:
                return self.unlabel_handler(command, UnlabelArguments.parse(arguments))()
            case LabelHashesArguments.command:
                return self.label_hashes_handler(command, LabelHashesArguments.parse(arguments))()
            case UnlabelHashesArguments.command:
                return self.unlabel_hashes_handler(command, UnlabelHashesArguments.parse(arguments))()
        return self.override_handler(command, OverrideArguments.parse(arguments))()

    def commit_outcome(self, command_id: str, outcome: Done, *, apply: bool = True) -> pb.CommandResult:
        """Commits what a command changes; arguments as of `run_command`."""
        result = pb.CommandResult(command_id=command_id, accepted=True, values=outcome.values)
        self._commit(CommandStep(Handled(Message(CONTROL, 0, 0, b"", b""), result, outcome)))
        self._pending.append(outcome.apply)
        if apply:
            self.apply_pending()
        return result

    def apply_pending(self) -> None:
        """Applies in memory what commands run with `apply=False` have committed."""
        pending, self._pending = self._pending, []
        for apply in pending:
            apply()
        self.corpus.erase_dropped()

    def override(self, action: str, image_id: str, other_id: str = "") -> pb.CommandResult:
        """Adds an override: `move` to another's cluster, `alone`, or `forbid` with another."""
        if other_id:
            return self.run_command(OverrideArguments.command, action=action, image_id=image_id, other_id=other_id)
        return self.run_command(OverrideArguments.command, action=action, image_id=image_id)

    def forget(self, image_id: str) -> pb.CommandResult:
        """Forgets an image."""
        return self.run_command(ForgetArguments.command, image_id=image_id)

    def re_embed(self, newer: Embedding) -> None:
        """Decides a known image again for a newer embedding."""
        self._redecide(decide_newer(self.redeciding, newer, DECIDED_MS + 1))

    def replace(self, image: JoinedImage) -> None:
        """Decides a known image again for two embeddings that replace the stored ones."""
        vacated = vacate(self.redeciding, image.image_id, DECIDED_MS + 1)
        if vacated is not None:
            self._redecide(vacated)
        self._redecide(decide_newer(self.redeciding, image, DECIDED_MS + 1))

    def heads(self) -> dict[str, str]:
        """Returns the id of every image's head by the image's id."""
        return {image_id: record.head for image_id, record in self.store.images.all()}

    def decisions(self) -> list[Decision]:
        """Returns the active decision of every image, in the order of deciding."""
        return [decode_decision(self.store.history.current(record.image_id)) for record in self.store.vectors.all()]

    def close(self) -> None:
        """Saves the corpus, if everything committed was applied in memory, and closes the files."""
        if not self._pending:
            checkpoints = Checkpointing(self.store, self.corpus, self._vectors_path, store_pb.StoreState())
            checkpoints.stop(self.store.state())
        self.corpus.close()
        self.store.close()

    def _redecide(self, change: Change) -> None:
        self._commit(RedecideStep(change.write, change.decisions))
        self.corpus.follow(change.steps)
        self.corpus.erase_dropped()

    def _commit(self, step: StreamStep | CommandStep | RedecideStep) -> None:
        commit(self.store, self.store.state(), step, self._clock.now_ms())


def _nothing_else(_image_id: str) -> None:
    """Does nothing: only the corpus is in memory."""
