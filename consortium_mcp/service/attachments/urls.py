"""Files behind URLs: fetched over http(s), by default at public addresses only, each redirect checked anew.

The address that was checked is the one that is connected to, so that a name cannot change its address in between.
Proxies that the environment names are not used.
"""

import http.client
import ipaddress
import socket
import ssl
import time
from contextlib import closing
from urllib.parse import SplitResult, urljoin, urlsplit

from consortium_mcp.errors import InvalidConsortiumError
from consortium_mcp.service.attachments.access import FileAccess
from consortium_mcp.service.attachments.paths import too_large

MOST_REDIRECTS = 3
"""The largest number of redirects."""

STEP_SECONDS = 10.0
"""The time limit of a connection, or of one read."""

FETCH_SECONDS = 30.0
"""The time limit of a whole fetch."""

_PIECE = 65_536


def fetch(url: str, access: FileAccess, left: int) -> tuple[bytes, str, str | None]:
    """The content of a URL, its name, and the media type that its server states; None if it states none.

    Args:
        left: how many bytes may still be read.

    Raises:
        InvalidConsortiumError: the URL is not allowed, leads to no file, or the file is too large.
    """
    if access.urls == "none":
        raise InvalidConsortiumError(
            "Attachments from URLs are turned off here (CONSORTIUM_ATTACHMENT_URLS). Give the file as a data: URI."
        )
    ends = time.monotonic() + FETCH_SECONDS
    asked = url
    for _ in range(MOST_REDIRECTS + 1):
        try:
            content, moved_to, stated = _get(asked, access, left, ends)
        except (OSError, http.client.HTTPException, ValueError) as error:
            why = str(error) or type(error).__name__
            raise InvalidConsortiumError(f"The attachment {url[:200]!r} cannot be fetched: {why}.") from error
        if moved_to is None:
            return content, urlsplit(asked).path.rpartition("/")[2], stated
        asked = urljoin(asked, moved_to)
    raise InvalidConsortiumError(f"The attachment {url[:200]!r} is redirected more than {MOST_REDIRECTS} times.")


def _get(url: str, access: FileAccess, left: int, ends: float) -> tuple[bytes, str | None, str | None]:
    """The content, or the URL of a redirect, and its stated type."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidConsortiumError(f"The attachment {url[:200]!r} is no http(s) URL. Give one, or a data: URI.")
    with closing(_connected(parts, access)) as connection:
        path = parts.path.replace(" ", "%20") or "/"
        target = f"{path}?{parts.query}" if parts.query else path
        connection.request("GET", target, headers={"Accept": "*/*", "Accept-Encoding": "identity"})
        reply = connection.getresponse()
        if reply.status in (301, 302, 303, 307, 308) and (moved_to := reply.getheader("location")):
            return b"", moved_to, None
        if reply.status != 200:
            raise OSError(f"the server answered {reply.status} {reply.reason}".rstrip())
        content = bytearray()
        while piece := reply.read1(_PIECE):
            content += piece
            if len(content) > left:
                raise too_large(url, access)
            if time.monotonic() > ends:
                raise TimeoutError(f"it took longer than {FETCH_SECONDS:g} seconds")
        stated = reply.headers.get_content_type() if reply.getheader("content-type") else None
        if reply.length:
            raise OSError("the connection ended before the file did")
        return bytes(content), None, stated


def _connected(parts: SplitResult, access: FileAccess) -> http.client.HTTPConnection:
    """A connection to an address of the host that may be reached."""
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [entry[4] for entry in found]
    if access.urls == "public" and not all(is_public(str(address[0])) for address in addresses):
        raise InvalidConsortiumError(
            f"The host {host!r} has an address that is not public, so nothing is fetched from it. "
            "The user can allow it with CONSORTIUM_ATTACHMENT_URLS=any."
        )
    connection = http.client.HTTPConnection(host, port, timeout=STEP_SECONDS)
    raw = socket.create_connection((str(addresses[0][0]), port), timeout=STEP_SECONDS)
    try:
        connection.sock = (
            ssl.create_default_context().wrap_socket(raw, server_hostname=host) if parts.scheme == "https" else raw
        )
    except BaseException:
        raw.close()
        raise
    return connection


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, also behind an IPv6 form of an IPv4 address."""
    found = ipaddress.ip_address(address.partition("%")[0])
    inside = [found]
    if isinstance(found, ipaddress.IPv6Address):
        inside += [one for one in (found.ipv4_mapped, found.sixtofour) if one is not None]
        if found in _NAT64:
            inside.append(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF))
    return all(one.is_global and not one.is_multicast for one in inside)


_NAT64 = ipaddress.ip_network("64:ff9b::/96")
