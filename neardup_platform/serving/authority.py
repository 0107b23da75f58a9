"""Strict parsing of Host and Origin headers: anything but a plain host and port is rejected. Pure.

A Host is an authority of RFC 3986 §3.2 without user information, an Origin is the ASCII serialisation of RFC 6454 §6.2.
A lenient parser takes `127.0.0.1:1@evil.example` for loopback, another one for evil.example.
"""

import ipaddress
import re
from typing import NamedTuple

_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{0,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#@\\]{1,261})")
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Authority(NamedTuple):
    """A host in its normal form, and the port, if given.

    Attributes:
        host: lower case, without brackets and trailing dot; an address is written as by `ipaddress`.
    """

    host: str
    port: int | None


def parse_authority(text: str) -> Authority | None:
    """The host and port of a Host header, or None if it is malformed."""
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        return None
    port = int(found["port"]) if found["port"] else None
    if port is not None and port > 65_535:
        return None
    host = found["host"].lower()
    if host.startswith("["):
        try:
            return Authority(ipaddress.IPv6Address(host[1:-1]).compressed, port)
        except ValueError:
            return None
    if ".." in host or host.startswith("."):
        return None
    return Authority(host.removesuffix("."), port)


def same_origin(origin: str, host: Authority) -> bool:
    """Whether a page of `origin` was loaded from the host that it now calls.

    A proxy that terminates TLS hides whether the page was loaded by https, so a missing port means the default port
    of the origin's scheme.
    """
    asking = parse_origin(origin)
    if asking is None:
        return False
    scheme, authority = asking
    default = _DEFAULT_PORTS[scheme]
    return authority.host == host.host and (authority.port or default) == (host.port or default)


def parse_origin(origin: str) -> tuple[str, Authority] | None:
    """Scheme and authority of an Origin header; None for `null` and anything that is not the origin of a web page."""
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        return None
    authority = parse_authority(found["authority"])
    return None if authority is None else (found["scheme"], authority)
