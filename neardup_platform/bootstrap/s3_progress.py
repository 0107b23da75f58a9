"""How far the load of a data set is, on S3, so that any machine continues it.

| `bootstrap-loads/{name}@{version}/…` | |
|---|---|
| `report.json` | the last check (`report.py`) |
| `bad-rows.parquet` | its bad rows, if there are any |
| `segments/{number}.parquet` | images without head, in the order of their decisions |
| `progress.json` | what is done; written after what it names |
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

from neardup_platform.errors import NotFound, ServerUnavailable
from neardup_platform.s3_client import read_bounded

LOADS = "bootstrap-loads"
_MOST_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class LoadProgress:
    """What is done.

    Attributes:
        attempt: counted up when the worker refuses or a run is cancelled: it is part of the ids of the commands, and
            the worker would answer a repeated one with its refusal.
        models: versions of the embeddings that the segments hold.
        segments: images of each segment; None until all are on S3.
        results: of the finished commands, by part: `load`, or the number of a segment.
        published: whether unpaired embeddings were published.
        finished: the result as a whole; None until everything is done.
    """

    attempt: int = 1
    models: Mapping[str, str] = field(default_factory=dict)
    segments: list[int] | None = None
    results: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    published: bool = False
    finished: Mapping[str, Any] | None = None


class LoadFolder:
    """The folder of a load on S3."""

    def __init__(self, s3: Any, bucket: str, load: str) -> None:
        self._s3, self._bucket, self._prefix = s3, bucket, f"{LOADS}/{load}"

    def key(self, name: str) -> str:
        """The key of an object in it."""
        return f"{self._prefix}/{name}"

    def uri(self, name: str) -> str:
        """The address of an object in it."""
        return f"s3://{self._bucket}/{self.key(name)}"

    def progress(self) -> LoadProgress:
        """What is done; nothing where nothing was written, or by a program that writes something else.

        Raises:
            ServerUnavailable: S3 does not answer.
        """
        try:
            return LoadProgress(
                **json.loads(read_bounded(self._s3, self._bucket, self.key("progress.json"), _MOST_BYTES))
            )
        except (NotFound, ValueError, TypeError):
            return LoadProgress()

    def put_progress(self, progress: LoadProgress) -> None:
        """Record what is done.

        Raises:
            ServerUnavailable: S3 does not answer.
        """
        self.put_json("progress.json", asdict(progress))

    def put_json(self, name: str, content: Mapping[str, Any]) -> None:
        """Write a small object.

        Raises:
            ServerUnavailable: S3 does not answer.
        """
        try:
            body = json.dumps(content, ensure_ascii=False, indent=1).encode()
            self._s3.put_object(Bucket=self._bucket, Key=self.key(name), Body=body)
        except (BotoCoreError, ClientError) as error:
            raise ServerUnavailable(f"writing {self.uri(name)} failed: {error}") from error

    def put_file(self, name: str, file: Path) -> None:
        """Upload a file.

        Raises:
            ServerUnavailable: S3 does not answer.
        """
        try:
            self._s3.upload_file(str(file), self._bucket, self.key(name))
        except (BotoCoreError, ClientError, Boto3Error) as error:
            raise ServerUnavailable(f"writing {self.uri(name)} failed: {error}") from error


def is_finished(s3: Any, bucket: str, load: str) -> bool:
    """Whether a version of a data set, `name@version`, was loaded.

    Raises:
        ServerUnavailable: S3 does not answer.
    """
    return LoadFolder(s3, bucket, load).progress().finished is not None
