"""The commands that the worker accepts: their arguments, whether they are prompt, and who handles them.

Adding one takes a model in `wire/command_arguments.py`, a handler in a folder here, and a line in `COMMANDS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from neardup_platform.bootstrap.data_set import DataSet
from neardup_platform.clock import Clock
from neardup_platform.kafka.retention import deleted_since
from neardup_platform.learning.classifier.keras_active_classifier import active_folder, classifier_folder
from neardup_platform.learning.classifier.promotion import check_fits
from neardup_platform.matching import Matching, PairScorer
from neardup_platform.pipeline import Pipeline
from neardup_platform.scoring.card import read_card
from neardup_platform.settings import Settings
from neardup_platform.store.writer import Store
from neardup_platform.stream.banks.label import AddLabel, RemoveLabel
from neardup_platform.stream.banks.label_hashes import AddHashes, RemoveHashes
from neardup_platform.stream.cells.use_cells import UseCells
from neardup_platform.stream.control.command import Handler, RegisteredCommand, register
from neardup_platform.stream.control.pause import Pause, Resume
from neardup_platform.stream.corrections.forget import Forget
from neardup_platform.stream.corrections.override import Override
from neardup_platform.stream.corrections.redeciding import Redeciding
from neardup_platform.stream.handover.publish_withheld import PublishWithheld
from neardup_platform.stream.handover.shadow import BeginShadow, CutOver
from neardup_platform.stream.intake import Intake
from neardup_platform.stream.loading.load import Build, Load
from neardup_platform.stream.models.keras_classifiers import Classifier, Classifiers
from neardup_platform.stream.models.load_model import LoadModel, check_loadable
from neardup_platform.stream.next_files.remote_files import RemoteFiles
from neardup_platform.stream.outbox import Outbox
from neardup_platform.stream.redecide.redecide import Redecide
from neardup_platform.stream.reprocess.remote_reprocess import RemoteReprocessing
from neardup_platform.stream.reprocess.reprocess import Reprocess
from neardup_platform.stream.segments.ingest_segment import IngestSegment
from neardup_platform.stream.snapshots.restore import Restore
from neardup_platform.stream.snapshots.snapshot import Snapshot
from neardup_platform.stream.trace.trace import Trace
from neardup_platform.terms.opening import open_index, space_with_cells
from neardup_platform.wire.command_arguments import (
    CommandArguments,
    CutOverArguments,
    ForgetArguments,
    IngestSegmentArguments,
    LabelArguments,
    LabelHashesArguments,
    LoadArguments,
    LoadModelArguments,
    OverrideArguments,
    PauseArguments,
    PublishWithheldArguments,
    RedecideArguments,
    ReprocessArguments,
    RestoreArguments,
    ResumeArguments,
    ShadowArguments,
    SnapshotArguments,
    TraceArguments,
    UnlabelArguments,
    UnlabelHashesArguments,
    UseCellsArguments,
)


@dataclass(frozen=True, slots=True)
class CommandContext:
    """What the handlers are built from.

    Attributes:
        classifier: the active one at the start.
        restore: shared by `restore`, and by `forget`, which reports to it what is forgotten while it prepares.
    """

    settings: Settings
    clock: Clock
    store: Store
    pipeline: Pipeline
    classifier: Classifier
    classifiers: Classifiers
    corrections: Redeciding
    intake: Intake
    outbox: Outbox
    restore: Restore

    def forget_in_memory(self, image_id: str) -> None:
        """Drop what is in memory of a forgotten image, beside the corpus."""
        self.intake.forget(image_id)
        self.restore.note_forgotten(image_id)


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """A line of the table.

    Attributes:
        arguments: model of the arguments; names the command.
        prompt: whether the command is handled ahead of long ones. What each prompt command does to a store under
            construction, and what the long commands do about it, is in docs/adr/0016.
        make: makes the handler.
    """

    arguments: type[CommandArguments]
    prompt: bool
    make: Callable[[CommandContext], Handler[Any]]


def _load_model(context: CommandContext) -> LoadModel:
    return LoadModel(context.settings, context.classifier, context.pipeline, context.classifiers, context.clock)


def _ingest_segment(context: CommandContext) -> IngestSegment:
    return IngestSegment(
        context.settings,
        context.store,
        context.classifier.required_models,
        context.outbox.has_room,
        context.clock,
        context.intake.in_flight,
    )


def _load(context: CommandContext) -> Load:
    return Load(
        context.settings,
        context.store,
        context.pipeline,
        context.classifier.required_models,
        partial(_find_data_set, context.settings),
        partial(_launch_build, context.settings),
        context.clock,
    )


def _launch_build(settings: Settings, log: Path) -> Build:
    # pyarrow takes a while to import, and most starts do without.
    from neardup_platform.stream.loading.remote_build import RemoteBuild

    return RemoteBuild(settings, log)


def _use_cells(context: CommandContext) -> UseCells:
    settings = context.settings
    return UseCells(
        settings,
        context.store,
        context.pipeline,
        context.classifier.required_models,
        partial(space_with_cells, settings),
        lambda folder, source, space: open_index(folder, space, settings.terms, source),
        partial(RemoteFiles, settings),
        context.clock,
    )


def _find_data_set(settings: Settings, name: str, version: str) -> DataSet:
    # boto3 takes a while to import, and most starts do without.
    from neardup_platform.bootstrap.s3_data_sets import find_data_set
    from neardup_platform.s3_client import open_s3

    return find_data_set(open_s3(settings.s3), settings.s3.bucket, settings.bootstrap.prefix, name, version)


def _pause(context: CommandContext) -> Pause:
    return Pause(context.store, context.clock)


def _resume(context: CommandContext) -> Resume:
    return Resume(context.store)


def _shadow(context: CommandContext) -> BeginShadow:
    return BeginShadow(context.store, context.clock)


def _cut_over(context: CommandContext) -> CutOver:
    return CutOver(context.store, context.clock)


def _publish_withheld(context: CommandContext) -> PublishWithheld:
    fetch = partial(_fetch_selection, context.settings)
    return PublishWithheld(context.store, fetch, context.outbox.has_room, context.clock)


def _snapshot(context: CommandContext) -> Snapshot:
    return Snapshot(context.settings, context.store, context.pipeline, context.clock)


def _reprocess(context: CommandContext) -> Reprocess:
    launch = partial(RemoteReprocessing, context.settings)
    return Reprocess(context.settings, context.store, context.pipeline, launch)


def _redecide(context: CommandContext) -> Redecide:
    return Redecide(
        context.store,
        context.corrections,
        partial(_load_other, context),
        partial(_fetch_selection, context.settings),
        context.outbox.has_room,
        context.clock,
    )


def _load_other(context: CommandContext, version: str) -> tuple[PairScorer, Matching]:
    folder = classifier_folder(context.settings, version)
    check_fits(read_card(folder), context.classifier.card)
    scorer = context.classifiers.load(folder)
    return scorer, Matching.of(context.settings, scorer)


def _fetch_selection(settings: Settings, key: str) -> tuple[list[str], bytes]:
    # pyarrow and boto3 take a while to import, and most starts do without.
    from neardup_platform.s3_client import open_s3
    from neardup_platform.stream.redecide.s3_selections import fetch_selection

    return fetch_selection(open_s3(settings.s3), settings.s3.bucket, key)


def _restore(context: CommandContext) -> Restore:
    return context.restore


def _override(context: CommandContext) -> Override:
    return Override(context.corrections, context.clock)


def _label(context: CommandContext) -> AddLabel:
    return AddLabel(context.corrections, context.clock)


def _unlabel(context: CommandContext) -> RemoveLabel:
    return RemoveLabel(context.corrections)


def _label_hashes(context: CommandContext) -> AddHashes:
    return AddHashes(context.corrections, context.clock)


def _unlabel_hashes(context: CommandContext) -> RemoveHashes:
    return RemoveHashes(context.corrections)


def _forget(context: CommandContext) -> Forget:
    return Forget(context.store, context.corrections, context.clock, context.forget_in_memory)


def _trace(context: CommandContext) -> Trace:
    return Trace(context.corrections)


COMMANDS = (
    CommandSpec(PauseArguments, prompt=True, make=_pause),
    CommandSpec(ResumeArguments, prompt=True, make=_resume),
    CommandSpec(ShadowArguments, prompt=True, make=_shadow),
    CommandSpec(CutOverArguments, prompt=True, make=_cut_over),
    CommandSpec(OverrideArguments, prompt=True, make=_override),
    CommandSpec(LabelArguments, prompt=True, make=_label),
    CommandSpec(UnlabelArguments, prompt=True, make=_unlabel),
    CommandSpec(ForgetArguments, prompt=True, make=_forget),
    CommandSpec(TraceArguments, prompt=True, make=_trace),
    CommandSpec(LabelHashesArguments, prompt=False, make=_label_hashes),
    CommandSpec(UnlabelHashesArguments, prompt=False, make=_unlabel_hashes),
    CommandSpec(LoadModelArguments, prompt=False, make=_load_model),
    CommandSpec(UseCellsArguments, prompt=False, make=_use_cells),
    CommandSpec(IngestSegmentArguments, prompt=False, make=_ingest_segment),
    CommandSpec(LoadArguments, prompt=False, make=_load),
    CommandSpec(PublishWithheldArguments, prompt=False, make=_publish_withheld),
    CommandSpec(SnapshotArguments, prompt=False, make=_snapshot),
    CommandSpec(RestoreArguments, prompt=False, make=_restore),
    CommandSpec(ReprocessArguments, prompt=False, make=_reprocess),
    CommandSpec(RedecideArguments, prompt=False, make=_redecide),
)


def registered_commands(context: CommandContext) -> list[RegisteredCommand]:
    """The commands of the table, with their handlers."""
    return [register(spec.arguments, spec.make(context), prompt=spec.prompt) for spec in COMMANDS]


def make_restore(settings: Settings, store: Store, pipeline: Pipeline, classifier: Classifier, clock: Clock) -> Restore:
    """The handler of `restore`."""
    return Restore(
        settings,
        store,
        pipeline,
        read_card(active_folder(settings, "")).version,
        partial(check_loadable, settings, classifier.card),
        partial(deleted_since, settings.kafka),
        clock,
        models=classifier.required_models,
        launch=partial(RemoteFiles, settings),
    )
