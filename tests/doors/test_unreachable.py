"""Servers that cannot be reached or trusted: one true sentence for each, in every way of asking."""

import asyncio
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from consortium_mcp.records import MemberResponse
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted
from tests.replies import AT_ONCE, GOOD, NOT_STREAMED, WAYS, RawEndpoint, write_config

pytestmark = pytest.mark.anyio


async def asked(
    service: ConsortiumService, reply: bytes, way: str, tls: ssl.SSLContext | None = None
) -> tuple[MemberResponse, int]:
    """The response of a member, and the number of requests that reached its server."""
    service.timing = AT_ONCE
    endpoint = RawEndpoint({"m": reply} | GOOD)
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0, ssl=tls)
    address = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    write_config(address, ["m", *GOOD], streams=way != NOT_STREAMED)
    run = await consulted(service, "m", max_iterations=1)
    server.close()
    return run.iterations[0].responses[0], endpoint.requests["m"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A way of reading replies, switched on."""
    name: str = request.param
    monkeypatch.setenv("CONSORTIUM_DIRECT_STREAMING", WAYS[name])
    return name


@pytest.fixture
def self_signed(tmp_path: Path) -> ssl.SSLContext:
    """The context of a server whose certificate only it itself has signed."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("needs openssl")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    new = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*new, *names, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


async def test_a_certificate_that_is_not_trusted_is_named_with_the_variable_that_trusts_it(
    way: str, llm_home: Path, service: ConsortiumService, self_signed: ssl.SSLContext
) -> None:
    found, requests = await asked(service, GOOD["whole"], way, self_signed)

    assert (found.error_kind, requests) == ("network", 0)
    assert found.error is not None and found.error.endswith("SSL_CERT_FILE can name another one.")
    assert "the server's certificate is not trusted (self-signed certificate)" in found.error


async def test_a_certificate_that_ssl_cert_file_names_is_trusted(
    way: str,
    llm_home: Path,
    tmp_path: Path,
    service: ConsortiumService,
    self_signed: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))

    found, requests = await asked(service, GOOD["whole"], way, self_signed)

    assert (found.text, found.error, requests) == ("Answer: 42", None, 1)


async def test_a_redirect_loop_is_one_failure_that_is_not_repeated(
    way: str, llm_home: Path, service: ConsortiumService
) -> None:
    reply = (
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /v1/chat/completions\r\nContent-Length: 0\r\nConnection: close"
    )

    found, requests = await asked(service, reply + b"\r\n\r\n", way)

    assert (found.error_kind, found.error) == (
        "invalid_request",
        "The model's address redirects in a loop. Check its api_base.",
    )
    assert requests <= 5


async def test_a_redirect_without_an_address_is_said_by_its_status(
    way: str, llm_home: Path, service: ConsortiumService
) -> None:
    reply = b"HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    found, _ = await asked(service, reply, way)

    assert (found.error_kind, found.error) == ("invalid_request", "Error code: 307 - Temporary Redirect")
