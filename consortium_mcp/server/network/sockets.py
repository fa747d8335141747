"""The server's sockets: an address, reachable for others only with tokens, or an owner-only Unix socket."""

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import resource

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

HTTP_PORT = 80


@contextmanager
def listening(settings: Settings, *, asks_for_token: bool) -> Iterator[socket.socket]:
    """The listening socket of the settings.

    Raises:
        ConsortiumError: the address is in use or not possible here, or others could reach it without a token.
    """
    if settings.uds:
        if not hasattr(socket, "AF_UNIX"):
            raise ConsortiumError("--uds needs Unix sockets, which this system does not have. Use --host and --port.")
        with _unix_socket(settings.uds.expanduser()) as listener:
            yield listener
        return
    if not asks_for_token and not is_loopback(settings.host):
        raise ConsortiumError(
            f"--host {settings.host} without a token would let others spend your money and read your answers. Set "
            "CONSORTIUM_TOKEN or "
            "--token-file, or listen on 127.0.0.1."
        )
    with _tcp_socket(settings.host, settings.port) as listener:
        yield listener


def allow_files(number: int) -> None:
    """Raise this process's limit of open files as far as allowed: the usual 1024 is too low for the connections."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allowed_hosts(settings: Settings, listener: socket.socket) -> list[str]:
    """The accepted Host headers: the server's own names with its port, and those of the settings with any port."""
    names: list[str] = []
    if not settings.uds:
        port = listener.getsockname()[1]
        bare = list(dict.fromkeys([*LOOPBACK, _in_url(settings.host)]))
        # Clients omit the default port in the header.
        names = [*(f"{name}:{port}" for name in bare), *(bare if port == HTTP_PORT else ())]
    given = [name for host in settings.allowed_hosts for name in (host, f"{host}:*")]
    return [*names, *given, *(LOOPBACK if settings.uds else ())]


def urls(settings: Settings, listener: socket.socket, paths: Sequence[str]) -> list[str]:
    """The URLs of the server."""
    if settings.uds:
        return [f"unix:{settings.uds} {path}" for path in paths]
    return [f"http://{_in_url(settings.host)}:{listener.getsockname()[1]}{path}" for path in paths]


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _tcp_socket(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise ConsortiumError(f"Nothing can listen on {host}:{port}: {error.strerror}. Give another --port.") from error


@contextmanager
def _unix_socket(path: Path) -> Iterator[socket.socket]:
    """A socket in the file system, for its owner only; the socket of a dead server is replaced."""
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        _remove_dead(path)
        listener.bind(str(path))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise ConsortiumError(
            f"Nothing can listen on {path}: {error.strerror or error}. Give another --uds."
        ) from error
    finally:
        os.umask(before)
    try:
        yield listener
    finally:
        listener.close()
        path.unlink(missing_ok=True)


def _remove_dead(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as probe, suppress(FileNotFoundError):
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            if path.is_socket():
                path.unlink()
