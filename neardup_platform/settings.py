"""All settings, their units and the reason for each default.

Read once at an edge (`Settings()` in the command line or a Dagster resource) from `neardup.toml` in the
working directory, then overridden by the environment: `NEARDUP_HOME`, `NEARDUP_KAFKA_BOOTSTRAP`,
`NEARDUP_JOIN_LATENESS_S` and so on: section, underscore, name.
"""

import hashlib
import ipaddress
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

CONFIG_FILE = Path("neardup.toml")


# Of a token or key that somebody chose; those that are made here have 43 characters.
MIN_TOKEN_CHARACTERS = 16
MAX_TOKEN_CHARACTERS = 512
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


def _not_blank(value: Any) -> Any:
    """Any setting but an empty one, which is neither unset nor a value.

    `NEARDUP_API_TOKEN=$TOKEN` with no TOKEN must not open a door, nor `NEARDUP_HOME=` mean the working directory.
    """
    plain = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(plain, str) and not plain.strip():
        raise ValueError("it is set and empty: give it a value, or leave it out")
    return value


def _checked_token(token: SecretStr | None) -> SecretStr | None:
    text = token.get_secret_value() if token is not None else None
    if text is not None and not (
        MIN_TOKEN_CHARACTERS <= len(text) <= MAX_TOKEN_CHARACTERS and all("!" <= letter <= "~" for letter in text)
    ):
        raise ValueError(
            f"a token has {MIN_TOKEN_CHARACTERS} to {MAX_TOKEN_CHARACTERS} characters, visible ones of ASCII without "
            f"spaces, this one has {len(text)}: make one with `openssl rand -hex 32`"
        )
    return token


def _list_of(value: Any) -> Any:
    """A list from a variable: `["a", "b"]` as in JSON, or `a, b`."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"it is no list in JSON ({error}): give `a, b`") from error
    return [part.strip() for part in value.split(",")]


# Read here and not by pydantic, whose errors would name the section only.
Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], NoDecode, BeforeValidator(_list_of)]
# A secret that callers send.
TokenText = Annotated[SecretStr | None, AfterValidator(_checked_token)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _set(cls, value: Any) -> Any:
        return _not_blank(value)


def is_secret(place: tuple[int | str, ...]) -> bool:
    """Whether an error at this place of the settings is about a value that must not be shown."""
    section = Settings.model_fields.get(str(place[0])) if place else None
    fields = getattr(section.annotation, "model_fields", {}) if section is not None else {}
    found = fields.get(str(place[1])) if len(place) > 1 else None
    return found is not None and "SecretStr" in str(found.annotation)


def setting_error(place: tuple[int | str, ...], message: str, value: object) -> str:
    """One error of the validation of `Settings` in words: the setting, what is wrong and what was found."""
    shown = f" (found {value!r})" if isinstance(value, str | int | float) and not is_secret(place) else ""
    return f"setting {'.'.join(map(str, place)) or 'combination'}: {message.removeprefix('Value error, ')}{shown}"


class KafkaSettings(_Section):
    """Where the log is. Without `bootstrap` the embedded Apache Kafka is used."""

    bootstrap: str | None = None
    security_protocol: str = Field("PLAINTEXT", pattern="^(PLAINTEXT|SSL|SASL_PLAINTEXT|SASL_SSL)$")
    sasl_mechanism: str | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    # Of topics that are created. Both embedding topics should have the same number: with both halves of an image in
    # partitions that are read alike, few halves wait.
    partitions: int = Field(4, ge=1, le=1024)
    replication: int = Field(1, ge=1, le=9)
    retention_h: int = Field(168, ge=1)
    # The largest message taken: two 16k-dimensional float32 vectors would still fit.
    max_message_bytes: int = Field(1_048_576, ge=65_536)

    @model_validator(mode="after")
    def _sasl_whole(self) -> Self:
        sasl = {name: getattr(self, name) for name in ("sasl_mechanism", "sasl_username", "sasl_password")}
        given = [name for name, value in sasl.items() if value is not None]
        if not self.security_protocol.startswith("SASL"):
            if given:
                raise ValueError(
                    f"kafka.{given[0]} is set, but kafka.security_protocol = {self.security_protocol!r} logs nobody "
                    "in: set SASL_SSL or SASL_PLAINTEXT, or leave it out"
                )
            return self
        mechanism = self.sasl_mechanism
        if mechanism is None:
            raise ValueError("kafka.security_protocol asks for a login: set kafka.sasl_mechanism")
        missing = [name for name, value in sasl.items() if value is None]
        if missing and (mechanism == "PLAIN" or mechanism.startswith("SCRAM-")):
            raise ValueError(f"kafka.sasl_mechanism = {mechanism!r} needs kafka.{missing[0]}")
        return self


class S3Settings(_Section):
    """Where artefacts and pictures are. `endpoint`: None is the embedded SeaweedFS, "aws" is AWS itself."""

    endpoint: str | None = None
    bucket: str = "neardup"
    region: str = "us-east-1"
    access_key: SecretStr | None = None
    secret_key: SecretStr | None = None

    @model_validator(mode="after")
    def _keys_whole(self) -> Self:
        if (self.access_key is None) != (self.secret_key is None):
            missing = "s3.secret_key" if self.secret_key is None else "s3.access_key"
            raise ValueError(f"one half of the S3 credentials is set: set {missing} as well, or neither")
        return self


class SnapshotSettings(_Section):
    """Copies of the store on S3."""

    # After each snapshot all but the newest so many are deleted; None: none is, `neardup snapshot prune` does it.
    keep: int | None = Field(None, ge=1)


class JoinSettings(_Section):
    """Pairing of the two kinds of embedding by image id, in event time."""

    # How far the event time of one half may trail the newest event seen before it expires unpaired.
    lateness_s: float = Field(600.0, gt=0)
    # With no new message for this long, the watermark moves on with the wall clock.
    idle_s: float = Field(5.0, gt=0)
    # Waiting halves, in memory and in the store; beyond either bound the oldest is given up and reported.
    max_waiting: int = Field(200_000, ge=1)
    # Memory that they may take. Of the built-in embedders a half takes 3 to 5 KB.
    max_waiting_mb: int = Field(1_024, ge=1)
    # Model versions, oldest first, whose vectors may be compared with those of the version that the classifier was
    # trained on. An embedding of a later version than the stored one has its image decided again.
    newer_lsh: Texts = ()
    newer_pair: Texts = ()


class TermSettings(_Section):
    """Candidate search by LSH terms (docs/adr/0007)."""

    # The term space (centring, whitening, hyperplanes); None: the one shipped for the built-in embedder.
    space: Path | None = None
    # Images compared by the first 256 bits of the signature, in a corpus of ten million; fewer in a smaller one
    # (terms/effort.py), which up to 100,000 is searched whole.
    scan_images: int = Field(1_500_000, ge=1)
    # Of those, the nearest so many are compared on the whole signature; fewer in a smaller corpus too.
    shortlist: int = Field(3_072, ge=1, le=1_000_000)
    # What the shortlist is chosen by: Hamming distance of 256 bits, or the number of equal terms as in the original.
    ranking: Literal["hamming", "overlap"] = "hamming"
    # Threads that share a micro-batch of queries.
    threads: int = Field(2, ge=1, le=64)
    # Members of one cluster that are searched, so that a query costs the same however large a cluster grows.
    max_representatives: int = Field(32, ge=1)
    # Candidates per image, nearest first. The original scanned up to 2,500; beyond 150 none of the true neighbours of
    # a planted million is found that is not found before.
    max_candidates: int = Field(150, ge=1, le=10_000)
    # Equal terms a candidate needs. At 1 already, 1% of the true near neighbours are lost at 100k images.
    min_overlap: int = Field(0, ge=0)
    # Queries a second, in the worker and in the API each, with one second's burst; None: no limit. Over it the
    # stream waits and the API answers 429. Leaves processor time to others on a shared machine.
    max_queries_per_s: float | None = Field(None, gt=0)
    # API searches that may wait for their turn, each with its picture (up to api.max_upload_bytes); one more
    # is answered 503. At 100 searches a second the last of 1,000 waits ten seconds, about a client's patience.
    max_waiting_queries: int = Field(1_000, ge=1)


class ScoringSettings(_Section):
    """The pair classifier and what counts as a match."""

    # A folder made by `neardup train`; None: the classifier shipped for the built-in embedders.
    model: Path | None = None
    # Calibrated probability from which a pair is a match; None: the threshold stored with the model.
    threshold: float | None = Field(None, gt=0, lt=1)
    # Lower probability that the image must also reach against the head, so that clusters do not chain.
    head_threshold: float | None = Field(None, gt=0, lt=1)
    # Threads that share a micro-batch of pairs; fewer than 4,096 pairs are not shared.
    threads: int = Field(2, ge=1, le=64)


class WorkerSettings(_Section):
    """The stream worker's loop."""

    # Images decided and committed at once, at most: a batch is what is at hand. 256 of a backlog take about a tenth of
    # a second. Up to four reads of twice as many images each are under way at a time, and all of these must lie in the
    # last two blocks of the term index, 4,096 each.
    max_batch_images: int = Field(256, ge=1, le=512)
    # How long one poll waits for input, an upper bound on added latency when idle.
    poll_ms: int = Field(50, ge=1, le=5_000)
    # What a decision is sure to survive before it is published. "power-cut": the store's log is synced to the disk
    # first, once for all commits meanwhile; a decision is published a few milliseconds later for it. "process": only
    # the death of the worker; after a power cut, published decisions may contradict the store for good.
    durability: Literal["power-cut", "process"] = "power-cut"
    heartbeat_s: float = Field(1.0, gt=0)
    report_s: float = Field(60.0, gt=0)
    # A run whose heartbeat is older than this is replaced by the sensor.
    stalled_s: float = Field(60.0, gt=0)


def _url(host: str, port: int) -> str:
    asked = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- asked, not listened on
    return f"http://[{asked}]:{port}" if ":" in asked else f"http://{asked}:{port}"


class ApiSettings(_Section):
    """The HTTP API and explorer page. `port` 0: a free one, chosen once and remembered in NEARDUP_HOME."""

    host: str = "127.0.0.1"
    port: int = Field(0, ge=0, le=65535)
    # A token of scope admin, for containers; `neardup token create` makes others. Beyond loopback one is needed.
    token: TokenText = None
    # What the command line and Dagster's jobs send to an API that asks for a token; None: `token`.
    client_token: TokenText = None
    # Beyond loopback, answer questions (not searches) of anyone without a token.
    public_read: bool = False
    # Further names of this API, as a proxy passes them on as Host or a browser knows them; what is behind a proxy
    # counts as beyond loopback.
    names: Texts = ()
    # Addresses of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed; those of anyone else are not read.
    proxies: Texts = ()
    # Catch-up interval of the RocksDB secondary; readers are never more than a second behind.
    refresh_ms: int = Field(100, ge=10, le=1_000)
    max_upload_bytes: int = Field(20_971_520, ge=1_024)
    # Of the body of a correction: ids and reasons have no more.
    max_json_bytes: int = Field(65_536, ge=1_024)
    # Requests in flight, of one address (or /64 network) and of all; over them 429 and 503. Probes are always answered.
    max_requests: int = Field(1_024, ge=8)
    max_requests_per_client: int = Field(256, ge=4)
    # Within which the head of a request must be there, and which a body may fall behind 16 KiB a second.
    read_timeout_s: float = Field(10.0, gt=0)

    @field_validator("names")
    @classmethod
    def _plain_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not _HOST_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a host name: give it without scheme, port and path")
        return names

    @field_validator("proxies")
    @classmethod
    def _addresses(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for address in proxies:
            try:
                ipaddress.ip_network(address)
            except ValueError as error:
                raise ValueError(f"{address!r} is not an address or a network: {error}") from error
        return proxies

    @property
    def url(self) -> str:
        """Where clients on this machine find it; settings are resolved."""
        return _url(self.host, self.port)

    @property
    def sent_token(self) -> SecretStr | None:
        """What a client on this machine sends."""
        return self.client_token or self.token


class ImageSettings(_Section):
    """Decoding and embedding of pictures, for people who have pictures rather than embeddings."""

    # Above these a file is refused unread or undecoded: a decompression bomb costs nothing.
    max_bytes: int = Field(52_428_800, ge=1_024)
    max_pixels: int = Field(100_000_000, ge=1_024)
    # Pictures are decoded by so many processes of their own, each with one thread; the API has one more for those
    # that take long.
    decoders: int = Field(2, ge=1, le=64)
    # Memory that one picture may take while it is decoded: a WebP takes 25 bytes a pixel, a PNG 14, so
    # that the largest PNG fits.
    decode_memory_mb: int = Field(1_536, ge=64, le=65_536)
    # Processor time that one picture may take. Ordinary photographs take 0.05 to 0.5 s.
    decode_cpu_s: float = Field(10.0, ge=0.1, le=3_600)
    # A user's own models: a Keras/SavedModel or ONNX file; None: the built-in embedders.
    lsh_model: Path | None = None
    pair_model: Path | None = None


class DagsterSettings(_Section):
    """Dagster. `port` of its webserver 0: a free one, chosen once and remembered in NEARDUP_HOME."""

    host: str = "127.0.0.1"
    port: int = Field(0, ge=0, le=65535)
    # As for the API: beyond loopback a token of scope admin is needed, this one or one of `neardup token create`. A
    # browser asks for it as the password of any name.
    token: TokenText = None
    # Further names of the webserver, as a proxy passes them on as Host or a browser knows them; what is behind a proxy
    # counts as beyond loopback.
    names: Texts = ()
    # Addresses of proxies, and the header by which they say who somebody is that they have let in; believed of no one
    # else, and enough in place of a token.
    proxies: Texts = ()
    identity_header: str | None = Field(None, pattern=r"^[A-Za-z0-9-]+$")
    # DAGSTER_HOME, with the dagster.yaml of an instance; None: `dagster/` in NEARDUP_HOME.
    home: Path | None = None
    # First hour, in UTC, that logs/decisions has: the hour before this home was first started (`neardup up` knows it);
    # of a Kafka of your own, kafka.retention_h before that. Hours materialised earlier need an earlier one.
    logs_start: str | None = Field(None, pattern=r"^\d{4}-\d{2}-\d{2}-\d{2}:00$")

    @property
    def url(self) -> str:
        """Where browsers on this machine find it; settings are resolved."""
        return _url(self.host, self.port)


class Settings(BaseSettings):
    """The whole configuration, frozen and validated at construction.

    Raises:
        pydantic.ValidationError: an unknown section or name, or a value out of range.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        # Tracebacks of others, Dagster's among them, print the inputs, and those may be secrets.
        hide_input_in_errors=True,
        env_prefix="NEARDUP_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        toml_file=CONFIG_FILE,
    )

    home: Path = Path(".neardup")
    kafka: KafkaSettings = KafkaSettings()
    s3: S3Settings = S3Settings()
    snapshots: SnapshotSettings = SnapshotSettings()
    join: JoinSettings = JoinSettings()
    terms: TermSettings = TermSettings()
    scoring: ScoringSettings = ScoringSettings()
    worker: WorkerSettings = WorkerSettings()
    api: ApiSettings = ApiSettings()
    images: ImageSettings = ImageSettings()
    dagster: DagsterSettings = DagsterSettings()

    @field_validator("home", mode="before")
    @classmethod
    def _set(cls, home: Any) -> Any:
        return _not_blank(home)

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- not used here: no .env file
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 -- nor secret files
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
        """The term index's folder; made from the store, so it may be deleted while no worker runs."""
        return self.home / "index"

    @property
    def vectors_path(self) -> Path:
        """The folder of the vector files; made from the store, so it may be deleted while no worker runs."""
        return self.home / "vectors"

    def masked(self) -> dict[str, Any]:
        """The effective settings as JSON-ready values, secrets replaced by asterisks."""
        return self.model_dump(mode="json")

    def fingerprint(self) -> str:
        """12 hex digits that change when a setting changes that bears on decisions (not ports or secrets)."""
        shaping = {name: self.masked()[name] for name in ("join", "terms", "scoring", "images")}
        for pace in ("max_queries_per_s", "max_waiting_queries"):
            del shaping["terms"][pace]
        del shaping["scoring"]["threads"]
        for pace in ("decoders", "decode_memory_mb", "decode_cpu_s"):
            del shaping["images"][pace]
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:12]
