"""Free loopback ports, chosen once and remembered in the home, so that addresses survive a restart.

They lie below the range from which systems take ports for outgoing connections (32768 and up on Linux), where any
outgoing connection could take a remembered port.
"""

import random
import socket
from collections.abc import Iterable
from pathlib import Path

from neardup_platform.errors import SetupError
from neardup_platform.files import read_json, write_json

LOOPBACK = "127.0.0.1"
_CHOSEN_FROM = range(12_000, 22_000)
_TRIES = 500


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen on `port` now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: a connection in TIME_WAIT does not make a port unavailable.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def answers(port: int, host: str = LOOPBACK, timeout_s: float = 0.5) -> bool:
    """Whether something accepts connections on `port`."""
    try:
        socket.create_connection((host, port), timeout=timeout_s).close()
    except OSError:
        return False
    return True


def socket_answers(path: Path) -> bool:
    """Whether something accepts connections on a Unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def broker_answers(bootstrap: str, timeout_s: float = 2.0) -> bool:
    """Whether something accepts connections at one of the addresses in `host:port,host:port`."""
    for address in bootstrap.split(","):
        host, _, port = address.strip().rpartition(":")
        if port.isdecimal() and answers(int(port), host.strip("[]"), timeout_s):
            return True
    return False


def remembered(home: Path) -> dict[str, int]:
    """The ports chosen so far, by name."""
    return {name: port for name, port in read_json(_file(home)).items() if isinstance(port, int)}


def choose(home: Path, names: Iterable[str], twin_offset: int = 0) -> dict[str, int]:
    """A free port for each name: the remembered one, or a new one if another process has taken it.

    Args:
        twin_offset: if not 0, the port this much higher must be free as well.

    Returns:
        Every remembered port by name, including the new ones.

    Raises:
        SetupError: no free port was found.
    """
    ports = remembered(home)
    for name in names:
        others = {port for other, port in ports.items() if other != name}
        if name not in ports or ports[name] in others or not _both_free(ports[name], twin_offset):
            ports[name] = _free_port(others, twin_offset)
    write_json(_file(home), ports)
    return ports


def check_available(setting: str, port: int, host: str = LOOPBACK) -> None:
    """Check that a port set by the user is free.

    Raises:
        SetupError: it is taken; names the setting and what to do.
    """
    if not is_free(port, host):
        variable = f"NEARDUP_{setting.upper().replace('.', '_')}"
        raise SetupError(
            f"{setting} = {port} is taken on {host}: stop what listens there, or set {variable}=0 "
            "to have a free port chosen"
        )


def _both_free(port: int, twin_offset: int) -> bool:
    return is_free(port) and is_free(port + twin_offset)


def _free_port(taken: set[int], twin_offset: int) -> int:
    for _ in range(_TRIES):
        port = random.choice(_CHOSEN_FROM)  # noqa: S311 -- random, so that two homes do not race for the same port
        if port not in taken and _both_free(port, twin_offset):
            return port
    raise SetupError(f"no free port on {LOOPBACK} in {_TRIES} tries between 12000 and 21999")


def _file(home: Path) -> Path:
    return home / "run" / "ports.json"
