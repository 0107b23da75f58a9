"""`make setup` and `make lock` trust a certificate authority that only this machine's configuration names."""

import base64
import hashlib
import http.server
import os
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).with_name("uv")


class Index:
    """A package index on loopback with a certificate signed by its own authority."""

    def __init__(self, url: str, authority: Path) -> None:
        self.url = url
        self.authority = authority


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Index]:
    folder = tmp_path_factory.mktemp("index")
    authority, chain = certificates(folder)
    tiny_wheel(folder / "simple" / "tiny")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), quietly(folder)) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Index(f"https://127.0.0.1:{server.server_port}/simple", authority)
        server.shutdown()


def quietly(folder: Path) -> type[http.server.SimpleHTTPRequestHandler]:
    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type, misc]

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def certificates(folder: Path) -> tuple[Path, Path]:
    """The certificate of a new authority, and key and certificate of a server at 127.0.0.1 signed by it."""
    now = datetime.now(UTC)

    def builder(name: str, issuer: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)]) for text in (name, issuer)]
        return (
            x509.CertificateBuilder()
            .subject_name(names[0])
            .issuer_name(names[1])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
        )

    root, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    signed = (
        builder("a company", "a company", root)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(root, hashes.SHA256())
    )
    leaf = (
        builder("127.0.0.1", "a company", server)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(root, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    authority, chain = folder / "authority.pem", folder / "server.pem"
    authority.write_bytes(signed.public_bytes(pem))
    key = server.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chain.write_bytes(key + leaf.public_bytes(pem))
    return authority, chain


def tiny_wheel(folder: Path) -> None:
    folder.mkdir(parents=True)
    files = {
        "tiny.py": b"",
        "tiny-1.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny\nVersion: 1\n",
        "tiny-1.dist-info/WHEEL": b"Wheel-Version: 1.0\nGenerator: a test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {
        name: base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        for name, content in files.items()
    }
    record = "".join(f"{name},sha256={digests[name]},{len(content)}\n" for name, content in files.items())
    with zipfile.ZipFile(folder / "tiny-1-py3-none-any.whl", "w") as wheel:
        for name, content in {**files, "tiny-1.dist-info/RECORD": record.encode()}.items():
            wheel.writestr(name, content)


def prepared(command: str, home: Path, **told: str) -> subprocess.CompletedProcess[str]:
    """Run a command as the set-up does, on a machine with this configuration and no other."""
    bare = {"PATH": os.environ["PATH"], "HOME": str(home), "UV_CACHE_DIR": str(home / "uv"), "PIP_NO_CACHE_DIR": "1"}
    return subprocess.run(
        ["bash", "-euc", f". scripts/system_certificates.sh; system_certificates; {command}"],
        cwd=ROOT,
        env=bare | told,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("told", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "pip.conf"])
def test_pip_and_uv_trust_the_same_authority_wherever_it_is_configured(index: Index, tmp_path: Path, told: str) -> None:
    named = {told: str(index.authority)}
    if told == "pip.conf":
        (tmp_path / ".config" / "pip").mkdir(parents=True)
        (tmp_path / ".config" / "pip" / "pip.conf").write_text(f"[global]\ncert = {index.authority}\n")
        named = {}
    options = f"--no-deps --index-url {index.url} tiny==1"
    for fetch in (
        f"{sys.executable} -m pip download -q --disable-pip-version-check -d {tmp_path}/pip {options}",
        f"{UV} pip install -q --python {sys.executable} --target {tmp_path}/uv-target {options}",
    ):
        answer = prepared(fetch, tmp_path, **named)
        assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "uv-target" / "tiny.py").exists()


def test_an_unknown_authority_is_not_trusted(index: Index, tmp_path: Path) -> None:
    fetch = (
        f"{UV} pip install -q --python {sys.executable} --target {tmp_path}/t --no-deps --index-url {index.url} tiny"
    )
    answer = prepared(fetch, tmp_path)
    assert answer.returncode != 0
    assert "UnknownIssuer" in answer.stderr


def test_by_default_the_certificate_store_of_the_system_is_trusted(tmp_path: Path) -> None:
    stores = ("ssl/certs/ca-certificates.crt", "pki/tls/certs/ca-bundle.crt", "ssl/ca-bundle.pem", "ssl/cert.pem")
    store = next((str(Path("/etc", each)) for each in stores if Path("/etc", each).exists()), "")
    shown = prepared('echo "${UV_SYSTEM_CERTS:-} ${PIP_CERT:-}"', tmp_path)
    assert shown.stdout.strip() == (f"1 {store}" if store else "")


def test_an_explicit_configuration_is_kept(tmp_path: Path) -> None:
    said = {"UV_SYSTEM_CERTS": "0", "MAVEN_OPTS": "-Djavax.net.ssl.trustStore=/mine"}
    shown = prepared('echo "$UV_SYSTEM_CERTS $MAVEN_OPTS"', tmp_path, **said)
    assert shown.stdout.split() == list(said.values())
