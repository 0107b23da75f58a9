"""Closed-loop load on an HTTP server: on each connection a request follows the answer to the one before.

Requests are encoded beforehand and answers are read without being parsed, so that a client takes some 30 µs of
processor time a request: what is measured is the server. Connections are threads, which wait for the server most of
the time.
"""

import json
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neardup_platform.errors import ServerUnavailable

_TIMEOUT_S = 60.0
_READ_BYTES = 1 << 16
_LENGTH = b"content-length: "


@dataclass(frozen=True, slots=True)
class Answered:
    """The answers to a load.

    Attributes:
        latencies_ms: float64 [n], from sending to the last byte.
        seconds: from the first request to the last answer.
    """

    latencies_ms: NDArray[np.float64]
    seconds: float


def encoded(method: str, path: str, body: Any = None) -> bytes:
    """A request to loopback as sent, with its body as JSON."""
    content = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if body is not None:
        head += f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n"
    return f"{head}\r\n".encode() + content


def closed_loop(port: int, requests: Sequence[bytes], connections: int, seconds: float) -> Answered:
    """Send requests to a port of loopback for some seconds.

    Args:
        requests: sent in turn, from another one on by each connection.
        seconds: the last requests begin before they have passed; each connection sends one at least.

    Raises:
        ServerUnavailable: the server closed a connection, or an answer was not 200.
    """
    begin = threading.Barrier(connections)
    with ThreadPoolExecutor(connections) as pool:
        started = [
            pool.submit(_loop, port, requests, number * len(requests) // connections, begin, seconds)
            for number in range(connections)
        ]
        done = [each.result() for each in started]
    latencies = np.concatenate([latencies for latencies, _, _ in done])
    return Answered(1_000 * latencies, max(end for _, _, end in done) - min(start for _, start, _ in done))


def _loop(
    port: int, requests: Sequence[bytes], at: int, begin: threading.Barrier, seconds: float
) -> tuple[NDArray[np.float64], float, float]:
    """Latencies in seconds, float64 [n], and the times of the first request and of the last answer."""
    latencies: list[float] = []
    with socket.create_connection(("127.0.0.1", port), _TIMEOUT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        begin.wait(_TIMEOUT_S)
        started = ended = time.perf_counter()
        while not latencies or ended < started + seconds:
            sent = ended
            connection.sendall(requests[at % len(requests)])
            _read_answer(connection)
            ended = time.perf_counter()
            latencies.append(ended - sent)
            at += 1
    return np.array(latencies), started, ended


def _read_answer(connection: socket.socket) -> None:
    """Read one answer to its end.

    Raises:
        ServerUnavailable: it is not 200, or the connection was closed.
    """
    data = b""
    while (end := data.find(b"\r\n\r\n")) < 0:
        data += _received(connection)
    head = data[:end].lower()
    at = head.find(_LENGTH)
    length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
    left = end + 4 + length - len(data)
    body = [data[end + 4 :]]
    while left > 0:
        body.append(_received(connection))
        left -= len(body[-1])
    if not head.startswith(b"http/1.1 200"):
        status, text = (part.decode(errors="replace") for part in (data[9:12], b"".join(body)[:300]))
        raise ServerUnavailable(f"the API answered {status}: {text}")


def _received(connection: socket.socket) -> bytes:
    try:
        data = connection.recv(_READ_BYTES)
    except TimeoutError:
        raise ServerUnavailable(f"the API did not answer within {_TIMEOUT_S:.0f} s") from None
    if not data:
        raise ServerUnavailable("the API closed a connection")
    return data
