"""Access over HTTP: programs on this machine, but no page in a browser."""

import http.client
import json
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

from tests.server_process import INITIALIZE, JSON, http_server


def status(url: str, **headers: str) -> int:
    """What a handshake with these headers is answered."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(str(address.hostname), address.port)
    with closing(connection):
        connection.request("POST", address.path, json.dumps(INITIALIZE), {**JSON, **headers})
        return connection.getresponse().status


def test_no_page_of_another_origin_is_answered(tmp_path: Path) -> None:
    with http_server(tmp_path / "stderr") as (_, url):
        own = url.removesuffix("/mcp")
        answers = {
            "a program": status(url),
            "its own origin": status(url, origin=own),
            "another server here": status(url, origin="http://127.0.0.1:1"),
            "a page": status(url, origin="https://example.com"),
            "a sandboxed page": status(url, origin="null"),
            "a rebound name": status(url, host="example.com"),
        }

    assert answers == {
        "a program": 200,
        "its own origin": 200,
        "another server here": 403,
        "a page": 403,
        "a sandboxed page": 403,
        "a rebound name": 421,
    }
