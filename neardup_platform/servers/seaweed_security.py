"""Access control for SeaweedFS's internal ports: every part uses TLS and requires a certificate of this start.

By default its master, volume server, filer and admin require no passwords, and the filer accepts requests of any
origin. So every start creates a certificate authority, signs one certificate with it, and discards the authority's key.
The parts hold that certificate, accept no other, over HTTP and gRPC alike, and also sign their requests with random
keys. Only the S3 port uses plain HTTP; it requires the credentials.
"""

import ipaddress
import json
import secrets
from datetime import UTC, datetime
from pathlib import Path

from neardup_platform.files import replace_file

# A name that never resolves (RFC 2606): the server has no option for `none`.
NO_ORIGIN = "https://none.invalid"
_SIGNING = ("jwt.signing", "jwt.signing.read", "jwt.filer_signing", "jwt.filer_signing.read")
_GRPC = ("master", "volume", "filer", "s3", "admin", "worker", "msg_broker", "msg_agent", "mq", "client")
_HTTPS = ("master", "volume", "filer", "admin")
# No certificate outlives a start, so none expires (RFC 5280 §4.1.2.5).
_VALID = (datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC))


def write_security(folder: Path, address: str) -> None:
    """Write `security.toml` for SeaweedFS running in `folder`, and the certificate and keys that it names.

    Args:
        folder: its working directory; the files are private (0600).
        address: the address that its parts listen on.
    """
    authority, certificate, key = _certificates(address)
    paths = {"ca": folder / "tls" / "ca.crt", "cert": folder / "tls" / "node.crt", "key": folder / "tls" / "node.key"}
    (folder / "tls").mkdir(mode=0o700, parents=True, exist_ok=True)
    for path, content in zip(paths.values(), (authority, certificate, key), strict=True):
        replace_file(path, content, durable=False, private=True)
    replace_file(folder / "security.toml", security_toml(paths), durable=False, private=True)


def security_toml(paths: dict[str, Path]) -> str:
    """The configuration, with new signing keys at each call."""
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


def _certificates(address: str) -> tuple[bytes, bytes, bytes]:
    """An authority's certificate, one signed by it for both ends of a connection, and its key; all PEM."""
    # Imported here because every command imports this package and few start servers.
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
