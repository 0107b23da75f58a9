"""The Dagster code location: what `workspace.yaml` loads. It only gathers; nothing is read or opened here."""

import dagster as dg

from assets.bootstrap import bootstrap_images
from assets.classifier_evaluation import classifier_evaluation, not_worse_than_in_use
from assets.cluster_proposals import cluster_proposals
from assets.coverage import coverage
from assets.decisions_log import decisions_log, decisions_log_checks
from assets.drift import drift
from assets.handover_parity import handover_parity
from assets.logs_by_day import logs_by_day
from assets.pair_classifier import pair_classifier
from assets.promoted_classifier import promoted_classifier
from assets.quality_report import report_daily, report_weekly
from assets.recall import recall
from assets.search_cells import search_cells
from assets.snapshots import snapshot_is_whole, snapshots_asset
from assets.stream_commands import stream_commands_asset
from assets.stream_worker import stream_worker_asset
from assets.stream_worker_checks import stream_worker_checks
from assets.term_space import term_space
from assets.topic_logs import topic_log_checks, topic_logs
from assets.training_pairs import training_pairs
from assets.what_if import what_if
from jobs.bootstrap import bootstrap
from jobs.fit_cells import fit_cells
from jobs.logs_hourly import logs_hourly, logs_hourly_schedule
from jobs.operations.banks import bank_csv, label, label_hashes
from jobs.operations.corrections import forget, forget_csv, override, override_csv
from jobs.operations.deciding import classifier_rollback, replay_dead_letters, trace
from jobs.operations.handing_over import cut_over, undo_cut_over
from jobs.operations.redeciding import reprocess, reprocess_hour, reprocess_images, undo_reprocess
from jobs.operations.snapshots import (
    prune_snapshots,
    restore_on_empty_machine,
    rollback,
    snapshot,
    snapshot_hourly,
    undo,
)
from jobs.parity_hourly import parity_hourly, parity_hourly_schedule
from jobs.pause_stream_worker import pause_stream_worker, resume_stream_worker
from jobs.quality_reports import (
    quality_report_daily,
    quality_report_daily_schedule,
    quality_report_weekly,
    quality_report_weekly_schedule,
)
from jobs.stream_worker import stream_worker
from jobs.train_classifier import train_classifier
from resources.platform import PlatformResource
from resources.versions import versions
from sensors.alerts_sensor import alerts_sensor
from sensors.cells_sensor import cells_sensor
from sensors.compaction_sensor import compaction_sensor
from sensors.data_sets_sensor import data_sets_sensor
from sensors.quality_sensor import quality_sensor
from sensors.snapshots_sensor import snapshots_sensor
from sensors.stream_worker_sensor import stream_worker_sensor

defs = dg.Definitions(
    assets=[
        *(stream_worker_asset, stream_commands_asset, snapshots_asset, bootstrap_images, decisions_log),
        *(term_space, search_cells),
        *topic_logs,
        *logs_by_day,
        *(coverage, recall, drift, report_daily, report_weekly, what_if, cluster_proposals, handover_parity),
        *(training_pairs, pair_classifier, classifier_evaluation, promoted_classifier),
    ],
    asset_checks=[
        *(stream_worker_checks, snapshot_is_whole),
        *(decisions_log_checks, not_worse_than_in_use),
        *topic_log_checks,
    ],
    jobs=[
        *(stream_worker, pause_stream_worker, resume_stream_worker, logs_hourly, train_classifier, fit_cells),
        *(snapshot, prune_snapshots, rollback, undo, restore_on_empty_machine),
        *(override, override_csv, label, label_hashes, bank_csv, forget, forget_csv),
        *(reprocess, reprocess_images, reprocess_hour, undo_reprocess),
        *(classifier_rollback, replay_dead_letters, trace, bootstrap),
        *(parity_hourly, cut_over, undo_cut_over),
        *(quality_report_daily, quality_report_weekly),
    ],
    schedules=[
        *(logs_hourly_schedule, snapshot_hourly, parity_hourly_schedule),
        *(quality_report_daily_schedule, quality_report_weekly_schedule),
    ],
    sensors=[
        *(stream_worker_sensor, snapshots_sensor, data_sets_sensor),
        *(quality_sensor, compaction_sensor, alerts_sensor, cells_sensor),
    ],
    resources={"platform": PlatformResource(), "io_manager": versions},
    # A process per step would cost more than the steps of this location do.
    executor=dg.in_process_executor,
)
