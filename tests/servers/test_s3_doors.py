"""Every port of the embedded S3 server, queried without its keys by a page, a process, a gRPC client; and with them."""

import http.client
import json
import re
import socket
import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest

from neardup_platform.servers.embedded_servers import running_servers
from neardup_platform.servers.ports import remembered
from neardup_platform.servers.s3_server import GRPC_OFFSET, MOST_VOLUMES, PORTS
from neardup_platform.servers.seaweed_security import write_security
from neardup_platform.settings import Settings
from neardup_platform.supervise.home import mark_of
from neardup_platform.supervise.process import marked

ORIGIN = {"Origin": "http://evil.example", "Host": "evil.example"}
# What unprotected inner servers answer: writing, reading and deleting files, and handing out the keys for it.
PATHS = (
    "/",
    "/stolen.txt",
    "/buckets/neardup/kept",
    "/dir/assign",
    "/dir/status",
    "/status",
    "/vol/grow",
    "/admin/",
    "/api/config",
)
INNER = tuple(name for name in PORTS if name != "seaweed-s3")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with running_servers(Settings(home=tmp_path_factory.mktemp("doors")), kafka=False) as resolved:
        bucket(resolved).put_object(Bucket="neardup", Key="kept", Body=b"kept")
        yield resolved


def bucket(resolved: Settings):
    assert resolved.s3.access_key
    assert resolved.s3.secret_key
    return boto3.client(
        "s3",
        endpoint_url=resolved.s3.endpoint,
        aws_access_key_id=resolved.s3.access_key.get_secret_value(),
        aws_secret_access_key=resolved.s3.secret_key.get_secret_value(),
        region_name=resolved.s3.region,
    )


def ask(port: int, method: str, path: str, *, tls: bool = False, body: bytes | None = None) -> int | None:
    """The status of an unsigned request, or None if there is no answer at all."""
    connection: http.client.HTTPConnection = (
        http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=_anyones_tls())
        if tls
        else http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    )
    try:
        connection.request(method, path, body, ORIGIN)
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def _anyones_tls() -> ssl.SSLContext:
    """For a client that trusts every server and has no certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@pytest.mark.parametrize("name", INNER)
@pytest.mark.parametrize("tls", [False, True])
def test_an_inner_port_answers_nothing_to_an_unsigned_request(running: Settings, name: str, tls: bool) -> None:
    port = remembered(running.home)[name]
    for path in PATHS:
        for method, body in (("GET", None), ("PUT", b"x"), ("POST", b"x"), ("DELETE", None)):
            # Over TLS the handshake fails; without TLS the server only says that it requires TLS.
            assert ask(port, method, path, tls=tls, body=body) in ((None,) if tls else (None, 400)), (method, path)
    assert bucket(running).get_object(Bucket="neardup", Key="kept")["Body"].read() == b"kept"


@pytest.mark.parametrize("name", PORTS)
@pytest.mark.parametrize("tls", [False, True])
def test_a_grpc_port_answers_no_client_without_a_certificate(running: Settings, name: str, tls: bool) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
    received = b""
    try:
        with socket.create_connection(("127.0.0.1", remembered(running.home)[name] + GRPC_OFFSET), 10) as plain:
            if tls:
                context = _anyones_tls()
                context.set_alpn_protocols(["h2"])
                with context.wrap_socket(plain) as secured:
                    secured.sendall(preface)
                    received = secured.recv(100)
            else:
                plain.sendall(preface)
                received = plain.recv(100)
    except OSError:
        pass
    # 0x15 is a TLS alert; an HTTP/2 server starts with its settings.
    assert received == b"" or received[0] == 0x15


def test_the_s3_port_accepts_nothing_unsigned_and_allows_no_page(running: Settings) -> None:
    port = remembered(running.home)["seaweed-s3"]
    for path in ("/neardup/kept", "/neardup/new", "/neardup", "/"):
        for method, body in (("GET", None), ("HEAD", None), ("PUT", b"x"), ("POST", b"x"), ("DELETE", None)):
            status = ask(port, method, path, body=body)
            assert status is not None
            assert status >= 400, (method, path)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        asked = {**ORIGIN, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}
        try:
            connection.request("OPTIONS", path, headers=asked)
            answer = connection.getresponse()
            assert answer.status >= 400
            assert answer.headers["Access-Control-Allow-Origin"] is None
        except http.client.RemoteDisconnected:
            pass
    assert bucket(running).get_object(Bucket="neardup", Key="kept")["Body"].read() == b"kept"


def test_how_many_buckets_fit_does_not_depend_on_the_free_disk(running: Settings) -> None:
    keys = running.home / "s3" / "tls"
    context = ssl.create_default_context(cafile=str(keys / "ca.crt"))
    context.load_cert_chain(keys / "node.crt", keys / "node.key")
    master = http.client.HTTPSConnection("127.0.0.1", remembered(running.home)["seaweed-master"], context=context)
    master.request("GET", "/dir/status")
    volumes = json.loads(master.getresponse().read())["Topology"]
    master.close()
    # At least one for each bucket.
    assert volumes["Max"] == MOST_VOLUMES
    assert volumes["Free"] > 0.99 * MOST_VOLUMES


def test_it_listens_only_on_the_chosen_ports(running: Settings) -> None:
    chosen = {remembered(running.home)[name] + offset for name in PORTS for offset in (0, GRPC_OFFSET)}
    listening = {
        connected.laddr.port
        for process in marked(mark_of(running.home))
        for connected in process.net_connections("tcp")
        if connected.status == "LISTEN"
    }
    assert listening == chosen


def test_keys_are_private_and_new_at_every_start(tmp_path: Path) -> None:
    def written() -> dict[str, str]:
        write_security(tmp_path, "127.0.0.1")
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
        return {path.name: path.read_text() for path in files}

    first, second = written(), written()
    assert set(first) == {"security.toml", "ca.crt", "node.crt", "node.key"}
    assert not any(first[name] == second[name] for name in first)
    assert len(set(re.findall(r'key = "([0-9a-f]{64})"', first["security.toml"]))) == 4


def test_a_home_with_any_name_can_be_configured(tmp_path: Path) -> None:
    import tomllib

    home = tmp_path / 'a "quoted" \\ földer'
    write_security(home, "127.0.0.1")
    read = tomllib.loads((home / "security.toml").read_text())
    assert read["grpc"]["ca"] == str(home / "tls" / "ca.crt")
    assert read["https"]["client"]["enabled"] is True
