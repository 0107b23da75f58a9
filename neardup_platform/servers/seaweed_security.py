"""What keeps strangers out of SeaweedFS's inner ports: every part talks TLS and asks for a certificate of this start.

By default its master, volume server, filer and admin know no passwords, and the filer answers pages of any origin. So
for every start a certificate authority is made, one certificate is signed with it, and the authority's key is dropped.
The parts hold that certificate, accept no other, over HTTP and gRPC alike, and sign their requests with random keys
besides. Only the S3 port talks plain HTTP; it asks for the credentials.
"""

import ipaddress
import json
import os
import secrets
from datetime import UTC, datetime
from pathlib import Path

# A name that resolves nowhere (RFC 2606): the server has no way to say `none`.
NO_ORIGIN = "https://none.invalid"
_SIGNING = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
_GRPC = ("master", "volume", "filer", "s3", "admin", "worker", "msg_broker", "msg_agent", "mq", "client")
_HTTPS = ("master", "volume", "filer", "admin")
# Nothing outlives a start, so nothing expires (RFC 5280 §4.1.2.5).
_VALID = (datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))


def write_security(folder: Path, address: str) -> None:
    """Write `security.toml` for SeaweedFS running in `folder`, and the certificate and keys that it names.

    Args:
        folder: its working directory; the files are private (0600).
        address: that its parts listen on.
    """
    authority, certificate, key = _certificates(address)
    paths = {"ca": folder / "tls" / "ca.crt", "cert": folder / "tls" / "node.crt", "key": folder / "tls" / "node.key"}
    (folder / "tls").mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, content in zip(paths.values(), (authority, certificate, key), strict=True):
        _write_private(path, content)
    _write_private(folder / "security.toml", security_toml(paths).encode())


def security_toml(paths: dict[str, Path]) -> str:
    """The configuration, with signing keys of its own at each call."""
    ca, pair = {"ca": paths["ca"]}, {"cert": paths["cert"], "key": paths["key"]}
    tables: dict[str, dict[str, object]] = {
        "cors.allowed_origins": {"values": NO_ORIGIN},
        "access": {"ui": False},
        "filer.expose_directory_metadata": {"enabled": False},
        **{table: {"key": secrets.token_hex(32)} for table in _SIGNING},
        "grpc": dict(ca),
        **{f"grpc.{part}": dict(pair) for part in _GRPC},
        **{f"https.{part}": {**ca, **pair} for part in _HTTPS},
        "https.client": {"enabled": True, **ca, **pair},
    }
    return "\n".join(
        f"[{table}]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in values.items())
        for table, values in tables.items()
    )


def _toml(value: object) -> str:
    return json.dumps(value if isinstance(value, bool) else str(value), ensure_ascii=False)


def _write_private(path: Path, content: bytes) -> None:
    staged = path.with_name(f"{path.name}.new")
    staged.unlink(missing_ok=True)
    with os.fdopen(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    staged.replace(path)


def _certificates(address: str) -> tuple[bytes, bytes, bytes]:
    """An authority's certificate, one signed by it for both ends of a connection, and that one's key; all PEM."""
    # Imported here, because every command asks this package where the servers are and few start them.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])

    def builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder(name("neardup authority"), name(subject), key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(_VALID[0])
            .not_valid_after(_VALID[1])
        )

    root, node = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = builder("neardup authority", root).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    certificate = (
        builder("neardup", node)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), False)
    )
    pem = serialization.Encoding.PEM
    return (
        authority.sign(root, hashes.SHA256()).public_bytes(pem),
        certificate.sign(root, hashes.SHA256()).public_bytes(pem),
        node.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
    )
