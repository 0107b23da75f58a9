"""Raw HTTP: clients that send partial requests, slowly or never, and read the response."""

import socket
from contextlib import ExitStack
from email.parser import BytesHeaderParser
from typing import NamedTuple


class Answer(NamedTuple):
    """What a server wrote before it closed, or as much as its Content-Length says; status 0 without anything."""

    status: int
    headers: dict[str, str]
    body: bytes


def connect(port: int, *, source: str = "127.0.0.1", timeout_s: float = 60.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout_s, source_address=(source, 0))


def head(method: str, path: str, *lines: str, host: str = "127.0.0.1") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", "")).encode("latin-1")


def read_answer(connection: socket.socket) -> Answer:
    """Reads to the end of one answer; a connection that is reset or closed ends it too."""
    received = b""
    try:
        while True:
            top, found, body = received.partition(b"\r\n\r\n")
            if found and len(body) >= int(_headers(top).get("content-length", "0")):
                break
            chunk = connection.recv(65_536)
            if not chunk:
                break
            received += chunk
    except ConnectionError:
        pass
    top, _, body = received.partition(b"\r\n\r\n")
    return Answer(int(top.split(b" ", 2)[1]) if top else 0, _headers(top), body)


def exchange(port: int, data: bytes, *, half_close: bool = False, **options: str) -> Answer:
    """One answer to these bytes, after which the client may say that no more come."""
    with connect(port, **options) as connection:
        connection.sendall(data)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
        return read_answer(connection)


def is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed it, or does so before the connection's time-out."""
    try:
        return connection.recv(1) == b""
    except ConnectionError:
        return True
    except TimeoutError:
        return False


def stalled_uploads(stack: ExitStack, port: int, count: int) -> list[socket.socket]:
    """Connections that begin an upload and send no more of it."""
    upload = (
        head("POST", "/v1/search", "Content-Type: multipart/form-data; boundary=x", "Content-Length: 10000")
        + b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
    )
    connections = [stack.enter_context(connect(port)) for _ in range(count)]
    for connection in connections:
        connection.sendall(upload)
    return connections


def _headers(top: bytes) -> dict[str, str]:
    return {name.lower(): value for name, value in BytesHeaderParser().parsebytes(top.partition(b"\r\n")[2]).items()}
