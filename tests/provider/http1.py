"""A minimal HTTP/1.1 server, written by hand, because no server library can misbehave on purpose."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterable
from http.client import responses
from typing import NamedTuple


class Call(NamedTuple):
    """One HTTP request; header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


async def read_call(reader: asyncio.StreamReader, first_byte: bytes) -> Call | None:
    """The next call on a connection; None if the client has closed it."""
    try:
        head = (first_byte + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request_line, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    method, path, _ = request_line.split(" ")
    return Call(method, path, headers, body)


async def next_byte(reader: asyncio.StreamReader) -> bytes:
    """The first byte of the next call; b"" if the client leaves instead."""
    try:
        return await reader.read(1)
    except ConnectionError:
        return b""


def send_at_once(writer: asyncio.StreamWriter) -> None:
    """Turn Nagle's algorithm off, which asyncio does only for sockets that name their protocol: 40 ms per answer."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN: no lingering."""
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def head(status: int, *headers: tuple[str, str]) -> bytes:
    """The status line and the headers."""
    reason = responses.get(status, "Unknown")  # 529 and similar statuses have no phrase
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def whole(status: int, content_type: str, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> bytes:
    """A response with a known length."""
    length = ("content-length", str(len(body)))
    return head(status, ("content-type", content_type), length, *headers) + body


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body; an empty one ends the body."""
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"
