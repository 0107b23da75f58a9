"""The whole configuration: its sections, where values come from, and the paths that follow from it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from pydantic import field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from neardup_platform.settings.http import AlertSettings, ApiSettings, DagsterSettings
from neardup_platform.settings.kafka import KafkaSettings
from neardup_platform.settings.s3 import BootstrapSettings, S3Settings, SnapshotSettings
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
from neardup_platform.settings.values import not_blank

CONFIG_FILE = Path("neardup.toml")


class Settings(BaseSettings):
    """The whole configuration, frozen and validated at construction.

    Raises:
        pydantic.ValidationError: an unknown section or name, or a value out of range.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        # Tracebacks, for example Dagster's, print the inputs, and these may be secrets.
        hide_input_in_errors=True,
        env_prefix="NEARDUP_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        toml_file=CONFIG_FILE,
        use_attribute_docstrings=True,
    )

    home: Path = Path(".neardup")
    """NEARDUP_HOME, the folder of all state and of the embedded servers."""
    kafka: KafkaSettings = KafkaSettings()
    s3: S3Settings = S3Settings()
    snapshots: SnapshotSettings = SnapshotSettings()
    bootstrap: BootstrapSettings = BootstrapSettings()
    join: JoinSettings = JoinSettings()
    terms: TermSettings = TermSettings()
    scoring: ScoringSettings = ScoringSettings()
    worker: WorkerSettings = WorkerSettings()
    api: ApiSettings = ApiSettings()
    images: ImageSettings = ImageSettings()
    dagster: DagsterSettings = DagsterSettings()
    logs: LogSettings = LogSettings()
    quality: QualitySettings = QualitySettings()
    handover: HandoverSettings = HandoverSettings()
    alerts: AlertSettings = AlertSettings()

    @field_validator("home", mode="before")
    @classmethod
    def _reject_blank(cls, home: Any) -> Any:
        return not_blank(home)

    @field_validator("home")
    @classmethod
    def _make_absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- unused: no .env file
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- unused: no secret files
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Order of precedence: arguments, environment, neardup.toml."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @property
    def store_path(self) -> Path:
        """The worker's RocksDB folder."""
        return self.home / "store"

    @property
    def dagster_home(self) -> Path:
        """The folder of the Dagster instance."""
        return (self.dagster.home or self.home / "dagster").expanduser().absolute()

    @property
    def index_path(self) -> Path:
        """The term index's folder; derived from the store, so it may be deleted while no worker runs."""
        return self.home / "index"

    @property
    def vectors_path(self) -> Path:
        """The folder of the vector files; derived from the store, so it may be deleted while no worker runs."""
        return self.home / "vectors"

    @property
    def loads_path(self) -> Path:
        """The folder of the folders of loads that are in progress, on the disk of the store."""
        return self.home / "loads"

    def masked(self) -> dict[str, Any]:
        """The effective settings as JSON-ready values, secrets replaced by asterisks."""
        return self.model_dump(mode="json")

    def fingerprint(self) -> str:
        """12 hex digits that change with every setting that affects decisions (not with ports or secrets)."""
        shaping = {name: self.masked()[name] for name in ("join", "terms", "scoring", "images")}
        for pace in ("max_queries_per_s", "max_waiting_queries"):
            del shaping["terms"][pace]
        del shaping["scoring"]["threads"]
        for pace in ("decoders", "decode_memory_mb", "decode_cpu_s"):
            del shaping["images"][pace]
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:12]
