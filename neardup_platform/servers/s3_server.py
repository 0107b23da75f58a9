"""The embedded S3 server: SeaweedFS (`weed mini`) from its PyPI package, loopback only.

Its S3 port requires the credentials generated here. Its internal ports (master, volume, filer, admin) answer only each
other (`seaweed_security.py`).
"""

import json
import secrets
import shutil
import sysconfig
from contextlib import suppress
from pathlib import Path
from typing import Any

from neardup_platform.errors import SetupError
from neardup_platform.files import create_file, read_json
from neardup_platform.servers.ports import LOOPBACK, answers
from neardup_platform.servers.seaweed_security import NO_ORIGIN, write_security
from neardup_platform.settings import Settings
from neardup_platform.supervise.service import Service

_PARTS = ("master", "volume", "filer", "s3", "admin")
PORTS = tuple(f"seaweed-{part}" for part in _PARTS)
# Every part serves gRPC on its port plus this; its own worker relies on it, whatever the flags say.
GRPC_OFFSET = 10_000
_S3_PORT = "seaweed-s3"
_PROBE_KEY = ".neardup-ready"
# A bucket takes at least one volume of its own, and a volume takes the disk that is written to it. By default there are
# only as many as would fit if each were full, and on a large disk that is mostly full each has a gigabyte: with 20 GB
# free of 250 the 21st volume is refused. Reclaiming deleted objects copies a volume, so one must fit a small disk.
_VOLUME_MB = 256
MOST_VOLUMES = 10_000


def endpoint(ports: dict[str, int]) -> str:
    """The address for S3 clients."""
    return f"http://{LOOPBACK}:{ports[_S3_PORT]}"


def credentials(home: Path) -> tuple[str, str]:
    """Access and secret key of the embedded server, generated once and kept private in the home."""
    file = home / "s3" / "credentials.json"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = {"accessKey": secrets.token_hex(10), "secretKey": secrets.token_hex(20)}
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    identity = {"name": "neardup", "credentials": [keys], "actions": actions}
    with suppress(FileExistsError):
        create_file(file, json.dumps({"identities": [identity]}, indent=1))
    try:
        stored = read_json(file)["identities"][0]["credentials"][0]
        return str(stored["accessKey"]), str(stored["secretKey"])
    except (KeyError, IndexError) as error:
        raise SetupError(f"{file} is damaged: delete it, to generate new S3 credentials") from error


def s3_service(settings: Settings, ports: dict[str, int]) -> Service:
    """SeaweedFS under `NEARDUP_HOME/s3`, its S3 port on `ports["seaweed-s3"]`.

    Raises:
        SetupError: the program `weed` is missing, or the credentials file is damaged.
    """
    folder = settings.home / "s3"
    keys = credentials(settings.home)
    return Service(
        name="s3",
        argv=(_weed(), "mini", *_flags(folder, ports)),
        # Without a limit its memory grows to half a gigabyte; at 150 MiB it spends an eighth of a core on garbage
        # collection. HOME: so that it reads no configuration of the user.
        env={"GOMEMLIMIT": "400MiB", "GOGC": "100", "HOME": str(folder)},
        probe=lambda: _not_ready(settings, ports, keys),
        ports=tuple(ports[name] for name in PORTS),
        url=endpoint(ports),
        cwd=folder,
        prepare=lambda: _prepare(folder),
        on_stopped=lambda: _remove_sockets(ports),
        stop_timeout_s=15.0,
    )


def _prepare(folder: Path) -> None:
    (folder / "data").mkdir(mode=0o700, parents=True, exist_ok=True)
    write_security(folder, LOOPBACK)


def _weed() -> str:
    beside_python = Path(sysconfig.get_path("scripts")) / "weed"
    found = str(beside_python) if beside_python.exists() else shutil.which("weed")
    if found is None:
        raise SetupError(
            "the program weed (SeaweedFS) is missing: run `make setup`, "
            "or set NEARDUP_S3_ENDPOINT to your own S3 service"
        )
    return found


def _flags(folder: Path, ports: dict[str, int]) -> list[str]:
    flags = [
        f"-dir={folder / 'data'}",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        # Ports can change; the cluster's knowledge of its parts must not depend on them.
        f"-master.dir={folder / 'data'}",
        "-volume.id=neardup",
        "-master.telemetry=false",
        f"-master.volumeSizeLimitMB={_VOLUME_MB}",
        f"-volume.max={MOST_VOLUMES}",
        f"-s3.config={folder / 'credentials.json'}",
        "-webdav=false",
        "-admin.ui=false",
        f"-s3.allowedOrigins={NO_ORIGIN}",
        f"-filer.allowedOrigins={NO_ORIGIN}",
        "-filer.exposeDirectoryData=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
    ]
    for part in _PARTS:
        flags += [
            f"-{part}.port={ports[f'seaweed-{part}']}",
            f"-{part}.port.grpc={ports[f'seaweed-{part}'] + GRPC_OFFSET}",
        ]
    return flags


def _not_ready(settings: Settings, ports: dict[str, int], keys: tuple[str, str]) -> str | None:
    """None once a put is acknowledged; a listing may work earlier. Otherwise the reason."""
    from botocore.exceptions import BotoCoreError, ClientError

    if not answers(ports[_S3_PORT]):
        return f"nothing answers on port {ports[_S3_PORT]}"
    client = _client(endpoint(ports), keys, settings.s3.region)
    bucket = settings.s3.bucket
    try:
        with suppress(client.exceptions.BucketAlreadyExists, client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=bucket)
        client.put_object(Bucket=bucket, Key=_PROBE_KEY, Body=b"ready")
        client.delete_object(Bucket=bucket, Key=_PROBE_KEY)
    except (BotoCoreError, ClientError) as error:
        return f"a put into {bucket} failed: {error}"
    finally:
        client.close()
    return None


def _client(address: str, keys: tuple[str, str], region: str) -> Any:
    import boto3
    from botocore.config import Config

    impatient = Config(retries={"max_attempts": 1}, connect_timeout=1, read_timeout=5)
    return boto3.client(
        "s3",
        endpoint_url=address,
        aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1],
        region_name=region,
        config=impatient,
    )


def _remove_sockets(ports: dict[str, int]) -> None:
    """Remove the sockets, named by port, that SeaweedFS leaves in /tmp, some of them even after a clean stop."""
    for port in (ports[name] + offset for name in PORTS for offset in (0, GRPC_OFFSET)):
        for socket in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):  # noqa: S108 -- SeaweedFS's fixed location
            with suppress(OSError):
                socket.unlink()
