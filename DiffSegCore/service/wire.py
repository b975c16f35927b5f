"""The connection between client and worker: a stream on the local loopback that nobody but them can open."""
from __future__ import annotations

import json
import socket
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, answer_challenge, deliver_challenge
from typing import Any, Mapping

LOST = (OSError, EOFError, AuthenticationError)  # what a connection raises when its other end is gone or a stranger


def connect(address: tuple[str, int], key: bytes) -> Connection:
    """The client's end; raises one of LOST."""
    return _without_delay(Client(address, authkey=key))


def welcome(connection: Connection, key: bytes) -> Connection:
    """The worker's end, once each has shown the other that it knows the key; raises one of LOST."""
    deliver_challenge(connection, key)
    answer_challenge(connection, key)
    return _without_delay(connection)


def send(connection: Connection, message: Mapping[str, Any]) -> None:
    connection.send_bytes(json.dumps(message).encode())


def receive(connection: Connection) -> dict[str, Any]:
    return json.loads(connection.recv_bytes())


def _without_delay(connection: Connection) -> Connection:
    """Sent at once: of two small messages in a row, TCP keeps the second back for up to 40 ms (200 on Windows)."""
    stream = socket.socket(fileno=connection.fileno())
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.detach()
    return connection
