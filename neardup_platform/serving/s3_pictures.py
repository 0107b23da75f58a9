"""Pictures for the explorer, from one folder of one bucket only.

Producers of embeddings write `source_uri`. If the server followed any uri, a producer could make it read its own files
or other hosts, so it fetches only what `neardup ingest` stores.
"""

import threading
from typing import Any
from urllib.parse import quote

from neardup_platform.errors import NotFound, ServerUnavailable
from neardup_platform.images.picture_kinds import HEAD_BYTES, media_type
from neardup_platform.settings import S3Settings
from neardup_platform.store import store_pb2 as store_pb
from neardup_platform.store.view import StoreView

FOLDER = "pictures/"
# Previews are far smaller; originals published by hand may come close.
MAX_PICTURE_BYTES = 8 * 1024 * 1024
_TIMEOUT_S = 3
_MAX_KEY_BYTES = 1_024


class PictureStore:
    """Reads pictures of the bucket in `settings`."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._client: Any = None
        self._making = threading.Lock()

    def path(self, image_id: str, record: store_pb.ImageRecord | None) -> str | None:
        """Path of the call that shows an image's picture, or None if there is no picture."""
        if record is None or self._settings.endpoint is None:
            return None
        if picture_key(record.source_uri, self._settings.bucket) is None:
            return None
        return f"/v1/images/{quote(image_id, safe='')}/picture"

    def paths(self, store: StoreView, image_ids: list[str]) -> list[str | None]:
        """The same for many images, in order."""
        records = store.images.find_many(image_ids) if image_ids else []
        return [self.path(image_id, record) for image_id, record in zip(image_ids, records, strict=True)]

    def fetch(self, uri: str) -> tuple[bytes, str]:
        """A picture and its media type.

        Raises:
            NotFound: the uri is not in the folder of pictures, the object is missing, or it is not a picture.
            ServerUnavailable: S3 does not answer.
        """
        key = picture_key(uri, self._settings.bucket)
        if key is None or self._settings.endpoint is None:
            place = f"s3://{self._settings.bucket}/{FOLDER}"
            raise NotFound(f"no picture to show: {uri[:200]!r} is not under {place}")
        data = self.read(key)
        shown_as = media_type(data[:HEAD_BYTES])
        if shown_as is None:
            raise NotFound(f"{uri[:200]!r} is not a picture that browsers show")
        return data, shown_as

    def read(self, key: str, max_bytes: int = MAX_PICTURE_BYTES) -> bytes:
        """An object of the bucket.

        Raises:
            NotFound: the object is missing, too large, or there is no S3.
            ServerUnavailable: S3 does not answer.
        """
        if self._settings.endpoint is None:
            raise NotFound("no S3 is set: nothing of it can be shown")
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"s3://{self._settings.bucket}/{quote(key)}"
        try:
            body = self._s3().get_object(Bucket=self._settings.bucket, Key=key)["Body"]
            with body:
                data = bytes(body.read(max_bytes + 1))
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in ("NoSuchKey", "NoSuchBucket", "404"):
                raise NotFound(f"{where} no longer exists") from error
            raise ServerUnavailable(f"reading {where} failed: {error}") from error
        except (BotoCoreError, OSError) as error:
            raise ServerUnavailable(f"reading {where} failed: {error}") from error
        if len(data) > max_bytes:
            raise NotFound(f"{where} has more than {max_bytes:,} bytes: too large to show")
        return data

    def _s3(self) -> Any:
        with self._making:
            if self._client is None:
                import boto3
                from botocore.config import Config

                settings = self._settings
                self._client = boto3.client(
                    "s3",
                    endpoint_url=None if settings.endpoint == "aws" else settings.endpoint,
                    region_name=settings.region,
                    aws_access_key_id=settings.access_key.get_secret_value() if settings.access_key else None,
                    aws_secret_access_key=settings.secret_key.get_secret_value() if settings.secret_key else None,
                    config=Config(
                        connect_timeout=_TIMEOUT_S,
                        read_timeout=_TIMEOUT_S,
                        retries={"total_max_attempts": 2},
                        s3={"addressing_style": "auto" if settings.endpoint == "aws" else "path"},
                    ),
                )
            return self._client


def picture_key(uri: str, bucket: str) -> str | None:
    """The key of a uri under the folder of pictures of `bucket`, or None for any other uri.

    Dot segments are refused because file-backed S3 servers may resolve them, control characters and long keys because
    S3 does not allow them.
    """
    prefix = f"s3://{bucket}/"
    if not uri.startswith(prefix + FOLDER):
        return None
    key = uri.removeprefix(prefix)
    odd = any(segment in ("", ".", "..") for segment in key.split("/")) or "\\" in key
    controls = any(letter < " " or letter == "\x7f" for letter in key)
    return None if odd or controls or len(key.encode(errors="replace")) > _MAX_KEY_BYTES else key
