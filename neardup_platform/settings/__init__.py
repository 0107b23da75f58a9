"""All settings, their units and the reason for each default.

Read once at an edge (`Settings()` in the command line or in a Dagster resource) from `neardup.toml` in the working
directory, then overridden by the environment: `NEARDUP_HOME`, `NEARDUP_KAFKA_BOOTSTRAP`, `NEARDUP_JOIN_LATENESS_S`
and so on: section, underscore, name.

The docstring under each field is its documentation: docs/reference/settings.md is generated from it.
"""

from neardup_platform.settings.http import AlertSettings, ApiSettings, DagsterSettings
from neardup_platform.settings.kafka import KafkaSettings
from neardup_platform.settings.messages import is_secret, setting_error
from neardup_platform.settings.s3 import BootstrapSettings, S3Settings, SnapshotSettings
from neardup_platform.settings.settings import CONFIG_FILE, Settings
from neardup_platform.settings.stages import (
    HandoverSettings,
    ImageSettings,
    JoinSettings,
    LogSettings,
    QualitySettings,
    ScoringSettings,
    TermSettings,
    WorkerSettings,
)
from neardup_platform.settings.values import MAX_TOKEN_CHARACTERS, MIN_TOKEN_CHARACTERS

__all__ = [
    "CONFIG_FILE",
    "MAX_TOKEN_CHARACTERS",
    "MIN_TOKEN_CHARACTERS",
    "AlertSettings",
    "ApiSettings",
    "BootstrapSettings",
    "DagsterSettings",
    "HandoverSettings",
    "ImageSettings",
    "JoinSettings",
    "KafkaSettings",
    "LogSettings",
    "QualitySettings",
    "S3Settings",
    "ScoringSettings",
    "Settings",
    "SnapshotSettings",
    "TermSettings",
    "WorkerSettings",
    "is_secret",
    "setting_error",
]
