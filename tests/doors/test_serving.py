"""Serving over the network: the endpoints, the end of the server, and slow, large and many requests."""

import http.client
import json
import resource
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from consortium_mcp.server import build_server
from consortium_mcp.server.network.h11_with_timeout import MOST_LINE_ENDS
from consortium_mcp.server.network.sockets import allowed_hosts
from consortium_mcp.server.network.web_app import Readiness, web_app
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import load_settings
from tests.bad_requests import OWN_SESSION, RawRequest, Sender
from tests.provider import Provider, verdict
from tests.scripted import panel
from tests.server_process import INITIALIZE, JSON, http_client, http_server, resident_mb, said, structured

ONE = {"prompt": "Capital of France?", "models": ["a"], "arbiter": "arbiter", "max_iterations": 1}
LIST_RUNS = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "list_runs", "arguments": {}}}

MOST_FOR_REFUSED_MB = 4
"""How much the server's memory may grow over thousands of refused sessions: measured: under 1; 1,000 open ones: 60."""


def at(url: str, path: str) -> str:
    """Another path of the same server."""
    return url.removesuffix(urlsplit(url).path) + path


def connect(url: str) -> socket.socket:
    """A bare connection to the server."""
    parts = urlsplit(url)
    assert parts.hostname and parts.port
    return socket.create_connection((parts.hostname, parts.port), timeout=30)


async def test_one_process_serves_http_and_sse_to_clients_of_both_eras(provider: Provider, tmp_path: Path) -> None:
    provider.on("arbiter", verdict("Paris"))

    with http_server(tmp_path / "stderr", "http,sse") as (_, url):
        answers, last = [], ""
        for path, mode in (("/mcp", "legacy"), ("/mcp", "auto"), ("/sse", "legacy"), ("/sse", "auto")):
            async with http_client(at(url, path), mode) as client:
                prompt = {"prompt": f"{path} {mode}?"}
                result = structured(await client.call_tool("consult_consortium", {**ONE, **prompt}))
                if last:  # and a run that one has started is read by the next
                    assert structured(await client.call_tool("get_run", {"run_id": last}))["status"] == "converged"
                answers.append(result["answer"])
                last = result["run_id"]

    assert answers == ["Paris"] * 4


def test_health_is_known_without_a_model_call_and_not_ready_says_why(
    provider: Provider, llm_home: Path, tmp_path: Path
) -> None:
    with http_server(tmp_path / "stderr") as (_, url):
        healthy, ready = httpx2.get(at(url, "/healthz")), httpx2.get(at(url, "/readyz"))
    (llm_home / "extra-openai-models.yaml").unlink()
    with http_server(tmp_path / "stderr", CONSORTIUM_LOCAL_MODEL=str(tmp_path / "none.gguf")) as (_, url):
        without_models = httpx2.get(at(url, "/readyz"))

    assert (healthy.status_code, ready.status_code, ready.json()) == (200, 200, {"ready": True, "why": None})
    assert without_models.status_code == 503 and "keys are missing" in without_models.json()["why"]
    assert provider.count() == 0


@pytest.mark.parametrize("has_models", [True, False])
def test_neither_models_that_are_not_allowed_nor_consortiums_without_a_model_make_it_ready(
    has_models: bool, provider: Provider, service: ConsortiumService, llm_home: Path, tmp_path: Path
) -> None:
    service.store.consortiums.save.sync("panel", panel("a", arbiter="arbiter"))
    environment = {"CONSORTIUM_LOCAL_MODEL": str(tmp_path / "none.gguf")}
    if has_models:
        environment["CONSORTIUM_ALLOWED_MODELS"] = "panel,gpt-5*"
    else:
        (llm_home / "extra-openai-models.yaml").unlink()
    with http_server(tmp_path / "stderr", **environment) as (_, url):
        ready = httpx2.get(at(url, "/readyz"))

    assert ready.status_code == 503 and "no model can be used" in ready.json()["why"]


class OnPort80(socket.socket):
    """What listens on the port that only root may take, and one test at a time."""

    def getsockname(self) -> tuple[str, int]:
        return ("192.0.2.1", 80)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "192.0.2.1"])
async def test_on_port_80_clients_that_leave_the_port_out_of_the_host_header_are_served(
    name: str, service: ConsortiumService
) -> None:
    with OnPort80() as listener:
        hosts = allowed_hosts(load_settings(None, host="192.0.2.1", port=80), listener)
    async with Runner(service) as runner:
        transport = httpx2.ASGITransport(
            web_app(build_server(runner), service.settings, Readiness(runner).answer, hosts, None)
        )
        async with httpx2.AsyncClient(transport=transport) as client:
            statuses = [
                (await client.get(f"http://{host}/no-such-path")).status_code
                for host in (name, f"{name}:8000", "evil.example")
            ]

    assert statuses == [404, 421, 421]


@pytest.mark.usefixtures("cold_start")
async def test_sigterm_lets_a_run_end_within_the_grace_and_takes_no_new_one(
    provider: Provider, service: ConsortiumService, tmp_path: Path
) -> None:
    gate = provider.gate("a")
    provider.on("arbiter", verdict("Paris"))
    answers: list[dict[str, Any]] = []

    async def consult(client: Client) -> None:
        answers.append(structured(await client.call_tool("consult_consortium", ONE)))

    with http_server(tmp_path / "stderr", CONSORTIUM_GRACE_SECONDS="60") as (process, url):
        async with http_client(url, "legacy") as client, http_client(url, "auto") as other:
            for one in (client, other):
                await one.list_tools()  # as the SDK does, to check a result's shape, which may be too late afterwards
            async with anyio.create_task_group() as group:
                group.start_soon(consult, client)
                await gate.wait_for_async(1)
                process.send_signal(signal.SIGTERM)
                await anyio.to_thread.run_sync(until, lambda: httpx2.get(at(url, "/readyz")).status_code == 503)
                refused = await other.call_tool("consult_consortium", {**ONE, "prompt": "another?"})
                gate.open()
        status = await anyio.to_thread.run_sync(lambda: process.wait(timeout=30))

    assert (status, [one["answer"] for one in answers]) == (0, ["Paris"])
    assert refused.is_error and "takes no new runs" in said(refused)
    assert [run.status for run in service.store.runs.find.sync()] == ["converged"]


@pytest.mark.usefixtures("cold_start")
async def test_sigterm_under_load_loses_no_run_and_the_next_start_resumes_them(
    provider: Provider, service: ConsortiumService, tmp_path: Path
) -> None:
    gate = provider.gate("a")
    provider.on("arbiter", verdict("Paris"))
    asked = [{**ONE, "models": ["b", "a"], "prompt": f"question {number}?", "wait_seconds": 0} for number in range(10)]

    with http_server(tmp_path / "stderr", CONSORTIUM_GRACE_SECONDS="0.2") as (process, url):
        async with http_client(url, "auto") as client:
            started = [structured(await client.call_tool("consult_consortium", one))["run_id"] for one in asked]
            await gate.wait_for_async(len(asked))
            await provider.wait_until_async(lambda: provider.count("b") == len(asked))
            await anyio.to_thread.run_sync(
                until, lambda: all(len(responses(service, run_id)) == 1 for run_id in started)
            )
            process.send_signal(signal.SIGTERM)
            status = await anyio.to_thread.run_sync(lambda: process.wait(timeout=30))
    left = {run.run_id: run.status for run in service.store.runs.find.sync()}
    gate.open()
    with http_server(tmp_path / "stderr"):
        await anyio.to_thread.run_sync(
            until, lambda: len(service.store.runs.find.sync(status="converged")) == len(asked)
        )

    assert (status, left) == (0, dict.fromkeys(started, "interrupted"))
    assert provider.count("b") == len(asked)


def responses(service: ConsortiumService, run_id: str) -> list[object]:
    """What has arrived in a run's first iteration."""
    iterations = service.store.runs.load.sync(run_id).iterations
    return list(iterations[0].responses) if iterations else []


@pytest.mark.usefixtures("cold_start")
async def test_a_second_signal_ends_the_grace(provider: Provider, service: ConsortiumService, tmp_path: Path) -> None:
    gate = provider.gate("a")

    with http_server(tmp_path / "stderr", CONSORTIUM_GRACE_SECONDS="600") as (process, url):
        async with http_client(url, "auto") as client:
            await client.call_tool("consult_consortium", {**ONE, "wait_seconds": 0})
            await gate.wait_for_async(1)
            process.send_signal(signal.SIGINT)
            await anyio.to_thread.run_sync(until, lambda: httpx2.get(at(url, "/readyz")).status_code == 503)
            process.send_signal(signal.SIGINT)
            status = await anyio.to_thread.run_sync(lambda: process.wait(timeout=30))
        gate.open()

    assert (status, [run.status for run in service.store.runs.find.sync()]) == (0, ["interrupted"])


@pytest.mark.usefixtures("cold_start")
async def test_a_run_that_was_cancelled_in_the_grace_is_not_resumed(
    provider: Provider, service: ConsortiumService, tmp_path: Path
) -> None:
    gate = provider.gate("a")

    with http_server(tmp_path / "stderr", CONSORTIUM_GRACE_SECONDS="600") as (process, url):
        async with http_client(url, "auto") as client:
            run = structured(await client.call_tool("consult_consortium", {**ONE, "wait_seconds": 0}))
            await gate.wait_for_async(1)
            process.send_signal(signal.SIGTERM)
            await anyio.to_thread.run_sync(until, lambda: httpx2.get(at(url, "/readyz")).status_code == 503)
            await client.call_tool("cancel_run", {"run_id": run["run_id"]})
        gate.open()
        status = await anyio.to_thread.run_sync(lambda: process.wait(timeout=30))

    assert (status, [run.status for run in service.store.runs.find.sync()]) == (0, ["cancelled"])


async def test_a_unix_socket_is_its_owners_alone(provider: Provider, tmp_path: Path) -> None:
    path = tmp_path / "consortium.sock"
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(path))
    dead.close()

    with http_server(tmp_path / "stderr", "http", "--uds", str(path)) as (process, _):
        mode = path.stat().st_mode & 0o777
        transport = httpx2.AsyncHTTPTransport(uds=str(path))
        async with httpx2.AsyncClient(transport=transport, timeout=60) as http:
            async with Client(streamable_http_client("http://localhost/mcp", http_client=http)) as client:
                models = structured(await client.call_tool("list_models", {"query": "arbiter"}))
        process.send_signal(signal.SIGTERM)
        await anyio.to_thread.run_sync(lambda: process.wait(timeout=30))

    assert (mode, not path.exists()) == (0o600, True)
    assert "arbiter" in [one["model"] for one in models["models"]]


def test_a_second_server_does_not_take_the_socket_of_one_that_runs(tmp_path: Path) -> None:
    path = tmp_path / "consortium.sock"

    with http_server(tmp_path / "stderr", "http", "--uds", str(path)):
        with http_server(tmp_path / "second", "http", "--uds", str(path)) as (second, _):
            status = second.wait(timeout=30)

    assert status == 1 and "Nothing can listen on" in (tmp_path / "second").read_text()


async def test_behind_a_proxy_it_answers_to_the_proxys_name_and_path(provider: Provider, tmp_path: Path) -> None:
    flags = ("--allowed-hosts", "consult.example.com", "--root-path", "/panel")

    with http_server(tmp_path / "stderr", "http,sse", *flags) as (_, url):
        known = httpx2.post(url, json=INITIALIZE, headers={**JSON, "Host": "consult.example.com"})
        foreign = httpx2.post(url, json=INITIALIZE, headers={**JSON, "Host": "consult.example.com.evil"})
        with httpx2.stream("GET", at(url, "/sse"), headers={"Host": "consult.example.com:443"}) as stream:
            lines = stream.iter_lines()
            endpoint = next(line for line in lines if line.startswith("data:"))

    assert (known.status_code, foreign.status_code) == (200, 421)
    assert endpoint.startswith("data: /panel/messages/?session_id=")


@pytest.mark.parametrize(("trusted", "scheme"), [("127.0.0.1", "https"), ("192.0.2.7", "http"), ("", "http")])
def test_forwarded_headers_are_believed_from_trusted_addresses_alone(trusted: str, scheme: str, tmp_path: Path) -> None:
    with http_server(tmp_path / "stderr", CONSORTIUM_TRUSTED_PROXIES=trusted) as (_, url):
        moved = httpx2.post(f"{url}/", json=INITIALIZE, headers={**JSON, "X-Forwarded-Proto": "https"})

    assert (moved.status_code, urlsplit(moved.headers["location"]).scheme) == (307, scheme)


@pytest.mark.usefixtures("cold_start")
def test_a_body_of_100_mb_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with http_server(tmp_path / "stderr", "http,sse") as (process, url):
        statuses, before = [], resident_mb(process.pid)
        for path in ("/mcp", f"/messages/?session_id={'0' * 32}"):
            connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
            connection.putrequest("POST", path)
            for name, value in {**JSON, "Content-Length": str(100 * 2**20)}.items():
                connection.putheader(name, value)
            connection.endheaders()
            statuses.append(connection.getresponse().status)
            connection.close()
        chunked = post_in_chunks(url, chunks=100)
        healthy, grown_mb = httpx2.get(at(url, "/healthz")).status_code, resident_mb(process.pid) - before

    assert (statuses, chunked, healthy) == ([413, 413], 413, 200)
    assert grown_mb < 50


def post_in_chunks(url: str, chunks: int) -> int:
    """The status of a body that does not say how long it is, a MiB a chunk."""

    def body() -> Any:
        for _ in range(chunks):
            yield b" " * 2**20

    try:
        return httpx2.post(url, content=body(), headers=JSON).status_code
    except (httpx2.WriteError, httpx2.ReadError):  # it may cut us off before we are through
        return 413


def test_a_request_that_dribbles_in_is_cut_and_the_others_are_served(tmp_path: Path) -> None:
    with http_server(tmp_path / "stderr", CONSORTIUM_REQUEST_TIMEOUT_SECONDS="1") as (_, url):
        header, body = connect(url), connect(url)
        header.sendall(b"POST /mcp HTTP/1.1\r\nHost: loc")
        length = f"Host: {urlsplit(url).netloc}\r\nContent-Length: 1000\r\nContent-Type: application/json\r\n\r\n{{"
        body.sendall(b"POST /mcp HTTP/1.1\r\n" + length.encode())
        served = httpx2.post(url, json=INITIALIZE, headers=JSON).status_code
        cut = [is_cut(header), is_cut(body)]
        header.close()
        body.close()

    assert (served, cut) == (200, [True, True])


def test_a_client_that_leaves_in_the_middle_of_a_request_and_bytes_after_an_answer_leave_no_traceback(
    tmp_path: Path,
) -> None:
    with http_server(tmp_path / "stderr", "http,sse") as (_, url):
        session = httpx2.post(url, json=INITIALIZE, headers=JSON).headers["mcp-session-id"]
        host = urlsplit(url).netloc
        part = "".join(f"{name}: {value}\r\n" for name, value in {**JSON, "Host": host, "Content-Length": "99"}.items())
        for more in ("", f"Mcp-Session-Id: {session}\r\n", "Mcp-Protocol-Version: 2026-07-28\r\n"):
            with connect(url) as leaving:
                leaving.sendall(f"POST /mcp HTTP/1.1\r\n{part}{more}\r\n{{".encode())
                leaving.shutdown(socket.SHUT_WR)
                assert is_cut(leaving)
        with connect(url) as answered:
            answered.sendall(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
            answer = b""
            while not answer.endswith(b"ok"):
                answer += answered.recv(1000)
            answered.sendall(b"no chunk\r\n")
            assert is_cut(answered)
        healthy = httpx2.get(at(url, "/healthz")).status_code

    assert healthy == 200
    assert "Traceback" not in (tmp_path / "stderr").read_text()


def test_a_request_behind_another_one_is_cut_when_it_does_not_arrive_in_time(tmp_path: Path) -> None:
    with http_server(tmp_path / "stderr", CONSORTIUM_REQUEST_TIMEOUT_SECONDS="1") as (_, url), connect(url) as client:
        host = urlsplit(url).netloc
        client.sendall(f"GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\nPOST /mcp HTTP/1.1\r\nHost: ".encode())
        answer = b""
        while not answer.endswith(b"ok"):
            answer += client.recv(1000)

        assert is_cut(client)


def in_chunks(body: bytes, size: int) -> bytes:
    """A body in chunks of so many bytes."""
    parts = (body[start : start + size] for start in range(0, len(body), size))
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


@pytest.mark.parametrize(
    "before", ["", "GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\n"], ids=["alone", "behind another"]
)
def test_a_body_in_very_many_chunks_is_cut_and_one_in_a_few_is_read(before: str, tmp_path: Path) -> None:
    with http_server(tmp_path / "stderr") as (_, url):
        host = urlsplit(url).netloc
        headers = "".join(f"{name}: {value}\r\n" for name, value in {**JSON, "Host": host}.items())
        head = f"{before.format(host=host)}POST /mcp HTTP/1.1\r\n{headers}Transfer-Encoding: chunked\r\n\r\n".encode()
        answers = []
        for body in (json.dumps(INITIALIZE).encode(), b" " * MOST_LINE_ENDS):
            with connect(url) as client:
                with suppress(ConnectionError):  # it may be cut before we are through
                    client.sendall(head + in_chunks(body, 1))
                answers.append(read_until(client, b"protocolVersion"))

    answered_before = before.count("GET")
    assert [answer.count(b"HTTP/1.1 ") for answer in answers] == [answered_before + 1, answered_before]


def read_until(connection: socket.socket, end: bytes) -> bytes:
    """What comes until there is a text in it, or the connection ends."""
    heard = b""
    with suppress(ConnectionResetError):
        while end not in heard and (part := connection.recv(10_000)):
            heard += part
    return heard


@pytest.mark.parametrize("path", ["/mcp", "/messages/?session_id=0"])
def test_a_body_of_very_many_values_is_refused_before_it_is_parsed(path: str, tmp_path: Path) -> None:
    with http_server(tmp_path / "stderr", "http,sse") as (_, url):
        many = httpx2.post(at(url, path), content=b"[" + b"[]," * 10_000 + b"1]", headers=JSON)
        wide = httpx2.post(at(url, path), content='{"a": 1}'.encode("utf-16"), headers=JSON)
        text = {"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"_meta": {"x": '"[],{}:' * 20_000}}}
        session = httpx2.post(at(url, "/mcp"), json=INITIALIZE, headers=JSON).headers["mcp-session-id"]
        read = httpx2.post(at(url, "/mcp"), json=text, headers={**JSON, "mcp-session-id": session}).status_code

    assert (many.status_code, many.text) == (400, "The body has more than 10000 values. Send less.")
    assert (wide.status_code, wide.text) == (400, "The body is not JSON in UTF-8.")
    assert read == 200


def is_cut(connection: socket.socket) -> bool:
    """Whether the server closes the connection without an answer."""
    try:
        return connection.recv(1000) == b""
    except ConnectionResetError:
        return True


def test_more_connections_than_allowed_get_503_and_leave_room_when_they_go(tmp_path: Path) -> None:
    with http_server(tmp_path / "stderr", CONSORTIUM_MAX_CONNECTIONS="5") as (_, url):
        waiting = [connect(url) for _ in range(5)]
        until(lambda: httpx2.get(at(url, "/healthz")).status_code == 503)
        for one in waiting:
            one.close()
        until(lambda: httpx2.get(at(url, "/healthz")).status_code == 200)


def test_many_sessions_are_bounded_and_those_that_are_open_go_on(provider: Provider, tmp_path: Path) -> None:
    with http_server(tmp_path / "stderr", CONSORTIUM_MAX_SESSIONS="5") as (_, url), httpx2.Client() as client:
        opened = [client.post(url, json=INITIALIZE, headers=JSON) for _ in range(20)]
        session = {**JSON, "Mcp-Session-Id": opened[0].headers["mcp-session-id"]}
        goes_on = client.post(url, json={"jsonrpc": "2.0", "id": 2, "method": "ping"}, headers=session)
        client.delete(url, headers=session)
        room = client.post(url, json=INITIALIZE, headers=JSON)

    assert [one.status_code for one in opened] == [200] * 5 + [503] * 15
    assert (goes_on.status_code, room.status_code) == (200, 200)


def test_a_client_that_asks_for_what_it_missed_gets_a_new_stream(tmp_path: Path) -> None:
    with http_server(tmp_path / "stderr") as (_, url), httpx2.Client() as client:
        session = {"Mcp-Session-Id": client.post(url, json=INITIALIZE, headers=JSON).headers["Mcp-Session-Id"]}
        with client.stream("GET", url, headers={**JSON, **session, "Last-Event-ID": "7"}) as response:
            status, kind = response.status_code, response.headers["Content-Type"]

    assert status == 200 and kind.startswith("text/event-stream")
    assert "without starting response" not in (tmp_path / "stderr").read_text()


@pytest.fixture
def few_files() -> Iterator[None]:
    """A soft limit of open files below what the default limits of a server need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("cold_start")
@pytest.mark.timeout(300)
async def test_ten_thousand_sessions_are_tried_while_clients_are_served_and_new_ones_later(
    provider: Provider, few_files: None, tmp_path: Path
) -> None:
    """Against the default limits: 7,000 of revision 2025-11-25 over HTTP, then 3,000 over SSE, each of which stays."""
    with http_server(tmp_path / "stderr", "http,sse") as (process, url), Sender(url) as sender:
        resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        streams: list[socket.socket] = []
        statuses, memory_mb = {"/mcp": Counter[int](), "/sse": Counter[int]()}, []
        works = RawRequest(raw("POST", url, {"Mcp-Session-Id": OWN_SESSION}, LIST_RUNS), "POST")
        async with http_client(url, "auto") as warming:
            await warming.call_tool("list_models", {})  # what is imported for it would count as sessions' memory
        try:
            working = await anyio.to_thread.run_sync(sender.statuses, [works] * 16)
            for path, thousands in (("/mcp", 7), ("/sse", 3)):
                for _ in range(thousands):
                    if path == "/mcp":
                        opening = RawRequest(raw("POST", url, {}, INITIALIZE), "POST")
                        answers = await anyio.to_thread.run_sync(sender.statuses, [opening] * 1000)
                    else:
                        answers = await anyio.to_thread.run_sync(open_streams, at(url, "/sse"), 1000, streams)
                    statuses[path].update(answers)
                    memory_mb.append(resident_mb(process.pid))
                    working += await anyio.to_thread.run_sync(sender.statuses, [works] * 16)
        finally:
            for stream in streams:
                stream.close()
        httpx2.delete(url, headers={**JSON, "Mcp-Session-Id": sender.sessions.pop()})
        until(lambda: httpx2.get(at(url, "/healthz")).status_code == 200)
        async with http_client(url, "legacy") as one, http_client(url, "auto") as two:
            async with http_client(at(url, "/sse"), "legacy") as three:
                later = [structured(await client.call_tool("list_runs", {}))["runs"] for client in (one, two, three)]

    assert statuses["/mcp"] == {200: 1000 - 16, 503: 6000 + 16}
    assert set(statuses["/sse"]) == {200, 503} and len(streams) == statuses["/sse"][200] <= 1000
    assert set(working) == {200} and later == [[]] * 3
    for first, last in ((memory_mb[1], memory_mb[6]), (memory_mb[7], memory_mb[9])):
        assert last - first < MOST_FOR_REFUSED_MB
    assert "Traceback" not in (tmp_path / "stderr").read_text()


def raw(verb: str, url: str, headers: dict[str, str], message: dict[str, Any] | None = None) -> bytes:
    """A request as it goes over the wire."""
    body = json.dumps(message) if message else ""
    lines = {"Host": urlsplit(url).netloc, **JSON, "Content-Length": len(body), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{verb} {urlsplit(url).path} HTTP/1.1\r\n{head}\r\n{body}".encode()


def open_streams(url: str, number: int, streams: list[socket.socket]) -> list[int]:
    """What so many requests for a stream are answered; those that are streams are added, and stay open."""
    statuses = []
    for _ in range(number):
        stream = connect(url)
        stream.sendall(raw("GET", url, {}))
        statuses.append(int(stream.recv(1000).split(b" ", 2)[1]))
        if statuses[-1] == 200:
            streams.append(stream)
        else:
            stream.close()
    return statuses


async def test_more_runs_than_may_wait_are_told_that_the_server_is_busy(provider: Provider, tmp_path: Path) -> None:
    gate = provider.gate("a")
    bounds = {"CONSORTIUM_MAX_CONCURRENT_RUNS": "2", "CONSORTIUM_MAX_WAITING_RUNS": "3"}

    with http_server(tmp_path / "stderr", **bounds) as (_, url):
        async with http_client(url, "auto") as client:
            asked = [{**ONE, "prompt": f"question {number}?", "wait_seconds": 0} for number in range(7)]
            results = [await client.call_tool("consult_consortium", one) for one in asked]
            gate.open()
            last = structured(results[4])["run_id"]
            ended = structured(await client.call_tool("get_run", {"run_id": last, "wait_seconds": 60}))

    assert [bool(one.is_error) for one in results] == [False] * 5 + [True] * 2
    assert "busy with 5 runs; try again" in said(results[5])
    assert ended["answer"] is not None


@pytest.mark.parametrize(
    ("flags", "status", "sentence"),
    [
        (["--transport", "stdio,http"], 2, "'stdio,http': give stdio, http, sse, or http,sse."),
        (["--transport", "http", "--host", "0.0.0.0"], 1, "Set CONSORTIUM_TOKEN or --token-file"),
        (["--transport", "http", "--host", "192.0.2.1"], 1, "Set CONSORTIUM_TOKEN or --token-file"),
        (["--transport", "http", "--token-file", "/nowhere"], 1, "The token file /nowhere cannot be read"),
        (["--transport", "http", "--oauth-issuer", "https://issuer"], 1, "needs CONSORTIUM_OAUTH_JWKS_URL"),
    ],
)
def test_what_would_be_open_or_half_set_up_does_not_start(
    flags: list[str], status: int, sentence: str, tmp_path: Path
) -> None:
    with http_server(tmp_path / "stderr", "http", *flags) as (process, _):
        ended = process.wait(timeout=30)

    stderr = (tmp_path / "stderr").read_text()
    assert ended == status and sentence in stderr and "Traceback" not in stderr


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Return when the condition holds; fail if it does not in time."""
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not come to hold"
        time.sleep(0.02)


def test_a_request_that_is_no_json_is_refused(tmp_path: Path) -> None:
    with http_server(tmp_path / "stderr") as (_, url):
        statuses = [httpx2.post(url, content=body, headers=JSON).status_code for body in (b"", b"{", b"[]", b"\xff\0")]
        plain = httpx2.post(url, content=json.dumps(INITIALIZE), headers={"Content-Type": "text/plain"}).status_code

    assert all(400 <= status < 500 for status in [*statuses, plain])
