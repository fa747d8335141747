"""Access over the network: callers, ownership of runs, limits per caller, and data that never leave the server."""

import hashlib
import json
import re
import signal
import sqlite3
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from mcp import Client
from mcp.shared.exceptions import MCPError

from consortium_mcp._util.caller import calling
from consortium_mcp.errors import BusyError, ConsortiumError, InvalidConsortiumError, NotFoundError, ReadTooLongError
from consortium_mcp.models.catalogue import load_catalogue
from consortium_mcp.records.consortium import define
from consortium_mcp.server import build_server
from consortium_mcp.server.base.mcp_server import LIMIT
from consortium_mcp.server.network import shares
from consortium_mcp.server.network.token_watch import WhileKnown
from consortium_mcp.server.network.tokens import IssuedTokens
from consortium_mcp.server.resources.reading import MOST_BEGUN
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import Settings, load_settings
from consortium_mcp.store.readers import Readers
from tests.consulted import consulted
from tests.doors.test_serving import ONE, at, until
from tests.in_process import in_process
from tests.provider import API_KEY, Fault, Provider, verdict
from tests.scripted import asking, panel
from tests.server_process import INITIALIZE, JSON, http_client, http_server, read, said, structured

ANN, BOB = "ann's token, which is long", "bob's token, which is long too"


def line(name: str, token: str) -> str:
    """A line of the token file."""
    return f"{name}:{hashlib.sha256(token.encode()).hexdigest()}\n"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """The tokens of Ann and Bob."""
    path = tmp_path / "tokens"
    path.write_text("# who may\n" + line("ann", ANN) + line("bob", BOB))
    return path


@pytest.fixture
def url(provider: Provider, token_file: Path, tmp_path: Path) -> Iterator[str]:
    """A server for Ann and Bob."""
    provider.on("arbiter", verdict("Paris"))
    with http_server(tmp_path / "stderr", "http,sse", CONSORTIUM_TOKEN_FILE=str(token_file)) as (_, url):
        yield url


@asynccontextmanager
async def ann_and_bob(url: str, mode: str = "auto") -> AsyncIterator[tuple[Client, Client]]:
    """A client of each."""
    async with http_client(url, mode, ANN) as ann, http_client(url, mode, BOB) as bob:
        yield ann, bob


def initialize(url: str, **headers: str) -> httpx2.Response:
    """The first request of a client."""
    return httpx2.post(url, json=INITIALIZE, headers={**JSON, **headers})


# Who may


UNKNOWN: list[dict[str, str]] = [
    {},
    {"Authorization": "Bearer wrong"},
    {"Authorization": "Bearer"},
    {"Authorization": f"Basic {ANN}"},
    {"Authorization": f"Bearer {ANN} "[:-2]},
    {"Authorization": f"Bearer {hashlib.sha256(ANN.encode()).hexdigest()}"},
]
"""Requests without a token that the server knows."""


def test_without_a_known_token_every_door_is_closed(url: str) -> None:
    for headers in UNKNOWN:
        answers = [
            initialize(url, **headers),
            initialize(url, **headers, **{"Mcp-Protocol-Version": "2026-07-28"}),
            httpx2.get(at(url, "/sse"), headers=headers),
            httpx2.post(at(url, "/messages/?session_id=0"), json={}, headers={**JSON, **headers}),
            httpx2.get(at(url, "/anything"), headers=headers),
        ]

        assert [one.status_code for one in answers] == [401] * 5, headers
        assert all(one.headers["www-authenticate"].startswith("Bearer ") for one in answers)


def test_a_foreign_host_and_a_foreign_origin_are_refused_with_and_without_a_token(url: str, tmp_path: Path) -> None:
    token = {"Authorization": f"Bearer {ANN}"}
    own = url.removeprefix("http://").partition("/")[0]
    with http_server(tmp_path / "open") as (_, other):
        refused = [
            initialize(one, **headers, **extra).status_code
            for one, headers in ((url, token), (other, {}))
            for extra in (
                {"Host": "evil.example"},
                {"Host": "localhost"},
                {"Host": f"{own}.evil.example"},
                {"Origin": "http://evil.example"},
                {"Origin": "http://localhost:3000"},
                {"Origin": "null"},
            )
        ]
        allowed = [initialize(url, **token).status_code, initialize(other).status_code]

    assert refused == [421, 421, 421, 403, 403, 403] * 2
    assert allowed == [200, 200]


def test_with_a_token_every_address_can_be_listened_on(provider: Provider, tmp_path: Path) -> None:
    with http_server(tmp_path / "stderr", "http", "--host", "0.0.0.0", CONSORTIUM_TOKEN=ANN) as (_, url):
        own = url.replace("0.0.0.0", "127.0.0.1")
        closed, opened = initialize(own), initialize(own, Authorization=f"Bearer {ANN}")

    assert (closed.status_code, opened.status_code) == (401, 200)


def test_sighup_reads_the_tokens_again_and_a_broken_file_changes_nothing(
    provider: Provider, token_file: Path, tmp_path: Path
) -> None:
    carl = {"Authorization": "Bearer carl's token"}
    ann = {"Authorization": f"Bearer {ANN}"}

    with http_server(tmp_path / "stderr", CONSORTIUM_TOKEN_FILE=str(token_file)) as (process, url):
        before = initialize(url, **carl).status_code
        token_file.write_text("no token\n")
        process.send_signal(signal.SIGHUP)
        broken = initialize(url, **ann).status_code
        token_file.write_text(line("carl", "carl's token"))
        process.send_signal(signal.SIGHUP)
        until(lambda: initialize(url, **carl).status_code == 200)
        gone = initialize(url, **ann).status_code

    assert (before, broken, gone) == (401, 200, 401)


def test_a_token_that_is_taken_back_ends_its_open_streams(provider: Provider, token_file: Path, tmp_path: Path) -> None:
    with http_server(tmp_path / "stderr", "http,sse", CONSORTIUM_TOKEN_FILE=str(token_file)) as (process, url):
        ann, bob = ({"Authorization": f"Bearer {token}"} for token in (ANN, BOB))
        session = initialize(url, **ann).headers["mcp-session-id"]
        sessions = {"Mcp-Session-Id": session, "Accept": "text/event-stream"}
        with httpx2.Client(headers=ann, timeout=30) as client:
            with client.stream("GET", at(url, "/sse")) as old, client.stream("GET", url, headers=sessions) as new:
                events = old.iter_lines()
                first = next(events)
                token_file.write_text(line("bob", BOB))
                process.send_signal(signal.SIGHUP)
                rest = [*events, *new.iter_lines()]  # they end
        others = initialize(url, **bob).status_code
        again = httpx2.post(url, json=INITIALIZE, headers={**JSON, **ann}).status_code
    log = (tmp_path / "stderr").read_text()

    assert (first, old.status_code, new.status_code, others, again) == ("event: endpoint", 200, 200, 200, 401)
    assert not [one for one in rest if one.startswith("event: message")] and "Traceback" not in log


LISTEN = {
    "jsonrpc": "2.0",
    "id": 3,
    "method": "subscriptions/listen",
    "params": {
        "notifications": {"resourcesListChanged": True, "resourceSubscriptions": ["consortium://runs"]},
        "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
            "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
        },
    },
}
"""Subscribes to a resource for as long as its stream is open, in the revision 2026-07-28."""

MODERN = {"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "subscriptions/listen"}


def test_a_token_that_is_taken_back_ends_its_subscription_and_the_stream_of_its_consult(
    provider: Provider, token_file: Path, tmp_path: Path
) -> None:
    provider.on("arbiter", verdict("a secret answer"))
    gate = provider.gate("a")
    call = {"name": "consult_consortium", "arguments": {**ONE, "wait_seconds": 300}}
    consult = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": call}
    with http_server(tmp_path / "stderr", CONSORTIUM_TOKEN_FILE=str(token_file)) as (process, url):
        ann, bob = ({**JSON, "Authorization": f"Bearer {token}"} for token in (ANN, BOB))
        session = {"Mcp-Session-Id": initialize(url, **ann).headers["mcp-session-id"]}
        with httpx2.Client(headers=ann, timeout=60) as client, ExitStack() as streams:
            listening = streams.enter_context(client.stream("POST", url, json=LISTEN, headers=MODERN))
            consulting = streams.enter_context(client.stream("POST", url, json=consult, headers=session))
            events = listening.iter_lines()
            heard = next(one for one in events if "acknowledged" in one)
            gate.wait_for(1)
            token_file.write_text(line("bob", BOB))
            process.send_signal(signal.SIGHUP)
            rest = "".join([*events, *consulting.iter_lines()])  # they end, while the model is still asked
        gate.open()
        others = initialize(url, **bob).status_code

    assert (listening.status_code, consulting.status_code, others, bool(heard)) == (200, 200, 200, True)
    assert "secret" not in rest and "result" not in rest
    assert "Traceback" not in (tmp_path / "stderr").read_text()


async def test_a_token_that_expires_ends_its_open_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock of PyJWT is ours; no time passes."""
    expires = time.time() + 3_600
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": "1", "use": "sig"}
    monkeypatch.setattr(jwt.PyJWKClient, "fetch_data", lambda self: {"keys": [public]})
    tokens = IssuedTokens(
        Settings(oauth_issuer="https://issuer", oauth_jwks_url="https://issuer/keys", oauth_resource="https://us/mcp")
    )
    claims = {"sub": "dora", "iss": "https://issuer", "aud": "https://us/mcp", "exp": expires}
    token = jwt.encode(claims, key, algorithm="RS256", headers={"kid": "1"})
    access = await tokens.verify_token(token)
    clock = SimpleNamespace(now=time.time())
    now = lambda tz: SimpleNamespace(timestamp=lambda: clock.now)  # noqa: E731
    monkeypatch.setattr("jwt.api_jwt.datetime", SimpleNamespace(now=now))
    sent: list[Any] = []
    checked = anyio.Event()

    class Watched:
        async def verify_token(self, token: str) -> Any:
            found = await tokens.verify_token(token)
            checked.set()
            return found

    async def stream(scope: Any, receive: Any, send: Any) -> None:
        """Send an event, and one more when the token has expired; then wait for the client to leave."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        await checked.wait()
        clock.now = expires + 1
        while (await receive())["type"] != "http.disconnect":
            pass
        await send({"type": "http.response.body", "body": b"too late", "more_body": True})

    async def receive() -> Any:
        await anyio.sleep_forever()

    async def send(message: Any) -> None:
        sent.append(message)

    user = SimpleNamespace(access_token=access)
    scope = {"type": "http", "user": user, "headers": [(b"authorization", f"Bearer {token}".encode())]}
    with anyio.fail_after(30):
        await WhileKnown(stream, Watched(), seconds=0.001)(scope, receive, send)

    assert [one.get("body") for one in sent] == [None, b"first", b""]
    assert not sent[-1]["more_body"]


async def test_a_token_of_an_oauth_issuer_is_verified_by_its_keys(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, other = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
    keys = {"keys": [{**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": "1", "use": "sig"}]}
    monkeypatch.setattr(jwt.PyJWKClient, "fetch_data", lambda self: keys)
    tokens = IssuedTokens(
        Settings(oauth_issuer="https://issuer", oauth_jwks_url="https://issuer/keys", oauth_resource="https://us/mcp")
    )
    good = {"sub": "dora", "iss": "https://issuer", "aud": "https://us/mcp", "exp": time.time() + 60}
    bad = [{**good, **wrong} for wrong in ({"aud": "https://them"}, {"iss": "https://evil"}, {"exp": 1})]
    bad += [{**good, "sub": empty} for empty in ("", " ")]  # whose runs are those of a caller without a name?
    bad.append({name: value for name, value in good.items() if name != "exp"})

    def signed(claims: dict[str, Any], by: Any = key, algorithm: str = "RS256") -> str:
        return jwt.encode(claims, by, algorithm=algorithm, headers={"kid": "1"})

    access = await tokens.verify_token(signed(good))
    unsigned = jwt.encode(good, "", algorithm="none", headers={"kid": "1"})
    refused = [*map(signed, bad), signed(good, other), signed(good, "x" * 32, "HS256"), unsigned, "x.y.z", ANN]

    assert access is not None and access.client_id == "oauth:dora" and access.token == ""
    assert [await tokens.verify_token(one) for one in refused] == [None] * len(refused)


@pytest.mark.parametrize("failure", [jwt.PyJWKClientConnectionError("timed out"), ValueError("no JSON")])
async def test_an_oauth_issuer_that_hangs_delays_no_other_caller_and_is_not_asked_for_a_while(
    failure: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = IssuedTokens(
        Settings(oauth_issuer="https://issuer", oauth_jwks_url="https://issuer/keys", oauth_resource="https://us/mcp")
    )
    fetches: list[bool] = []
    given_up = threading.Event()

    def fetch(self: jwt.PyJWKClient) -> None:
        fetches.append(given_up.wait(60))
        raise failure

    monkeypatch.setattr(jwt.PyJWKClient, "fetch_data", fetch)
    token = jwt.encode({"sub": "dora"}, "x" * 32, headers={"kid": "1"})
    answers: list[object] = []

    async def verify() -> None:
        answers.append(await tokens.verify_token(token))

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(verify)
        await anyio.wait_all_tasks_blocked()
        try:
            with anyio.fail_after(20):
                await anyio.to_thread.run_sync(lambda: None)
        finally:
            given_up.set()

    assert answers == [None] * 100 and fetches == [True]
    assert [record.getMessage() for record in caplog.records] == [
        f"The keys of the OAuth issuer cannot be fetched: {failure}"
    ]


async def test_a_token_whose_key_is_known_waits_for_no_fetch_that_another_token_caused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    keys = {"keys": [{**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": "1", "use": "sig"}]}
    hanging, let_go = threading.Event(), threading.Event()
    fetches: list[str] = []

    def fetch(self: jwt.PyJWKClient) -> Any:
        fetches.append("fetch")
        if len(fetches) > 1:
            hanging.set()
            assert let_go.wait(60)
        return keys

    monkeypatch.setattr(jwt.PyJWKClient, "fetch_data", fetch)
    monkeypatch.setattr("consortium_mcp.server.network.tokens._COOLDOWN_SECONDS", 0)
    tokens = IssuedTokens(
        Settings(oauth_issuer="https://issuer", oauth_jwks_url="https://issuer/keys", oauth_resource="https://us/mcp")
    )
    claims = {"sub": "dora", "iss": "https://issuer", "aud": "https://us/mcp", "exp": time.time() + 60}
    good, forged = (jwt.encode(claims, key, algorithm="RS256", headers={"kid": kid}) for kid in ("1", "unknown"))
    forgeries: list[object] = []

    async def verify_forged() -> None:
        forgeries.append(await tokens.verify_token(forged))

    first = await tokens.verify_token(good)
    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(verify_forged)
        await anyio.to_thread.run_sync(hanging.wait, 60)
        try:
            with anyio.fail_after(20):
                meanwhile = await tokens.verify_token(good)
        finally:
            waited = len(forgeries)
            let_go.set()

    assert first is not None and meanwhile is not None and meanwhile.client_id == "oauth:dora"
    assert (waited, forgeries) == (0, [None] * 100)


async def test_keys_of_an_issuer_are_fetched_again_when_old_and_believed_while_it_cannot_be_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    known = {"keys": [{**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": "1", "use": "sig"}]}
    answers = [known, jwt.PyJWKClientConnectionError("timed out"), jwt.PyJWKClientConnectionError("timed out")]
    now = 1000.0

    def fetch(self: jwt.PyJWKClient) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(jwt.PyJWKClient, "fetch_data", fetch)
    monkeypatch.setattr("consortium_mcp.server.network.tokens.time", SimpleNamespace(monotonic=lambda: now))
    tokens = IssuedTokens(
        Settings(oauth_issuer="https://issuer", oauth_jwks_url="https://issuer/keys", oauth_resource="https://us/mcp")
    )
    claims = {"sub": "dora", "iss": "https://issuer", "aud": "https://us/mcp", "exp": time.time() + 60}
    token = jwt.encode(claims, key, algorithm="RS256", headers={"kid": "1"})
    seen = []
    for moment in (1000.0, 1299.0, 1301.0, 1302.0, 5000.0):
        now = moment
        seen.append((await tokens.verify_token(token) is not None, len(answers)))

    assert seen == [(True, 2), (True, 2), (True, 1), (True, 1), (False, 0)]


def test_an_oauth_server_says_where_tokens_come_from(provider: Provider, tmp_path: Path) -> None:
    oauth = {
        "CONSORTIUM_OAUTH_ISSUER": "https://issuer.example",
        "CONSORTIUM_OAUTH_JWKS_URL": "https://issuer.example/keys",
        "CONSORTIUM_OAUTH_RESOURCE": "https://consult.example/mcp",
    }
    with http_server(tmp_path / "stderr", **oauth) as (_, url):
        closed = initialize(url)
        metadata = httpx2.get(at(url, "/.well-known/oauth-protected-resource/mcp"))

    assert closed.status_code == 401
    assert "https://consult.example/.well-known/oauth-protected-resource/mcp" in closed.headers["www-authenticate"]
    assert metadata.json()["authorization_servers"] == ["https://issuer.example/"]


# Whose


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("path", ["/mcp", "/sse"])
async def test_anothers_run_is_answered_like_one_that_does_not_exist(
    url: str, path: str, mode: str, provider: Provider
) -> None:
    async with ann_and_bob(at(url, path), mode) as (ann, bob):
        run_id = structured(await ann.call_tool("consult_consortium", ONE))["run_id"]
        absent = run_id[:-1] + ("0" if run_id[-1] != "0" else "1")

        async def answers(wanted: str) -> list[str]:
            tools = [
                await bob.call_tool("get_run", {"run_id": wanted}),
                await bob.call_tool("get_run", {"run_id": wanted, "detail": "full"}),
                await bob.call_tool("cancel_run", {"run_id": wanted}),
                await bob.call_tool("rate_run", {"run_id": wanted, "verdict": "wrong"}),
                await bob.call_tool("consult_consortium", {**ONE, "prompt": "And?", "follow_up_to": wanted}),
            ]
            assert all(one.is_error for one in tools)
            resources = [await refusal(bob, uri) for uri in uris(wanted)]
            return [text.replace(wanted, "RUN") for text in [*map(said, tools), *resources]]

        listed = structured(await bob.call_tool("list_runs", {}))["runs"]
        found = structured(await bob.call_tool("list_runs", {"query": "France"}))["runs"]
        newest = await read(bob, "consortium://runs")
        stats = await read(bob, "consortium://stats")
        own = structured(await ann.call_tool("get_run", {"run_id": run_id}))

        assert await answers(run_id) == await answers(absent)
        assert (listed, found, json.loads(newest), json.loads(stats)["members"]) == ([], [], [], [])
        assert own["answer"] == "Paris"


async def test_a_run_is_polled_by_every_client_with_its_callers_token_and_by_none_with_anothers(
    url: str, provider: Provider
) -> None:
    """Clients of both eras over both transports, all at once."""
    kinds = [(at(url, path), mode) for path in ("/mcp", "/sse") for mode in ("legacy", "auto")]
    gate = provider.gate("a")
    async with AsyncExitStack() as stack:
        anns, bobs = [
            [await stack.enter_async_context(http_client(place, mode, token)) for place, mode in kinds]
            for token in (ANN, BOB)
        ]
        asked = [{**ONE, "prompt": f"question {number}?", "wait_seconds": 0} for number in range(len(anns))]
        runs = [
            structured(await ann.call_tool("consult_consortium", one))["run_id"]
            for ann, one in zip(anns, asked, strict=True)
        ]
        refused = [said(await bob.call_tool("get_run", {"run_id": run_id})) for bob in bobs for run_id in runs]
        polled: list[str] = []

        async def poll(client: Client, run_id: str) -> None:
            result = await client.call_tool("get_run", {"run_id": run_id, "wait_seconds": 60})
            polled.append(structured(result)["answer"])

        async with anyio.create_task_group() as group:
            for ann in anns:
                for run_id in runs:
                    group.start_soon(poll, ann, run_id)
            gate.open()

    assert polled == ["Paris"] * 16
    assert len(refused) == 16 and all(text.startswith("No run") for text in refused)


def uris(run_id: str) -> list[str]:
    """The resources of a run."""
    parts = ("", "/transcript.md", "/iterations/1", "/responses/i1-m1")
    return [f"consortium://runs/{run_id}{part}" for part in parts]


async def refusal(client: Client, uri: str) -> str:
    """The error of reading a resource."""
    with pytest.raises(MCPError) as raised:
        await client.read_resource(uri)
    return str(raised.value)


async def test_the_same_call_of_two_callers_is_two_runs(url: str, provider: Provider) -> None:
    gate = provider.gate("a")
    once = {**ONE, "wait_seconds": 0}

    async with ann_and_bob(url) as (ann, bob):
        one, again = [structured(await ann.call_tool("consult_consortium", once))["run_id"] for _ in range(2)]
        other = structured(await bob.call_tool("consult_consortium", once))["run_id"]
        gate.open()

    assert one == again != other


async def test_saved_consortiums_are_their_callers_and_the_servers_are_for_all(
    url: str, service: ConsortiumService, provider: Provider
) -> None:
    service.store.consortiums.save.sync("common", define(members=[{"model": "a"}]))
    service.store.consortiums.save.sync("outer", define(members=[{"model": "common"}], arbiter="a"))

    async with ann_and_bob(url) as (ann, bob):
        for client, model in ((ann, "b"), (bob, "c")):
            saved = await client.call_tool("save_consortium", {"name": "panel", "models": [model]})
            assert not saved.is_error
        removed = await bob.call_tool("remove_consortium", {"name": "common"})
        hiding = await ann.call_tool("save_consortium", {"name": "common", "models": ["d"]})
        again = await ann.call_tool("save_consortium", {"name": "common", "models": ["d"]})
        nested = await ann.call_tool("consult_consortium", {"prompt": "?", "models": ["panel"]})
        inside = await ann.call_tool("consult_consortium", {"prompt": "?", "consortium": "outer"})
        of_ann = structured(await ann.call_tool("list_consortiums", {}))["consortiums"]
        of_bob = structured(await bob.call_tool("list_consortiums", {}))["consortiums"]
        read_by_bob = json.loads(await read(bob, "consortium://consortiums/panel"))
        back = await ann.call_tool("remove_consortium", {"name": "common"})
        common = json.loads(await read(ann, "consortium://consortiums/common"))

    def models(listed: list[dict[str, Any]]) -> dict[str, str]:
        return {one["name"]: one["definition"]["members"][0]["model"] for one in listed}

    assert (models(of_ann), models(of_bob)) == (
        {"common": "d", "outer": "common", "panel": "b"},
        {"common": "a", "outer": "common", "panel": "c"},
    )
    assert read_by_bob["members"][0]["model"] == "c"
    assert removed.is_error and "belongs to the server" in said(removed)
    assert not hiding.is_error and "hides the server's consortium of this name" in said(hiding)
    assert again.is_error and "Give overwrite=true to replace it" in said(again)
    assert nested.is_error and "'panel' is your own, and only the server's consortiums can be members" in said(nested)
    assert inside.is_error and "'common' is your own, and only the server's consortiums can be" in said(inside)
    assert provider.count("d") == 0
    assert not back.is_error and common["members"][0]["model"] == "a"
    assert service.store.consortiums.list_names.sync() == ["common", "outer"]


async def test_shared_lets_callers_see_each_others_runs_and_consortiums(
    provider: Provider, token_file: Path, tmp_path: Path
) -> None:
    provider.on("arbiter", verdict("Paris"))
    with http_server(tmp_path / "stderr", "http", "--shared", CONSORTIUM_TOKEN_FILE=str(token_file)) as (_, url):
        async with ann_and_bob(url) as (ann, bob):
            await ann.call_tool("save_consortium", {"name": "panel", "models": ["a"], "arbiter": "arbiter"})
            run_id = structured(await ann.call_tool("consult_consortium", ONE))["run_id"]
            seen = structured(await bob.call_tool("get_run", {"run_id": run_id}))
            listed = structured(await bob.call_tool("list_consortiums", {}))["consortiums"]

    assert (seen["answer"], [one["name"] for one in listed]) == ("Paris", ["panel"])


async def test_no_shared_wins_over_the_environment(provider: Provider, token_file: Path, tmp_path: Path) -> None:
    provider.on("arbiter", verdict("Paris"))
    environment = {"CONSORTIUM_TOKEN_FILE": str(token_file), "CONSORTIUM_SHARED": "true"}
    with http_server(tmp_path / "stderr", "http", "--no-shared", **environment) as (_, url):
        async with ann_and_bob(url) as (ann, bob):
            run_id = structured(await ann.call_tool("consult_consortium", ONE))["run_id"]
            seen = await bob.call_tool("get_run", {"run_id": run_id})

    assert seen.is_error and f"No run '{run_id}'" in said(seen)


async def test_what_one_caller_began_to_read_is_found_at_no_offset_by_another(
    service: ConsortiumService, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("text.chunks", "server.resources.reading"):
        monkeypatch.setattr(f"consortium_mcp.{module}.PIECE", 1)
    run_id = ""
    for name, model in (("bob", "b"), ("ann", "a")):
        with calling(name):
            service.store.consortiums.save.sync("panel", define(members=[{"model": model}]))
            run_id = (await consulted(service, model, prompt=f"What {name} asks")).run_id

    async def read_by_bob(*, after_ann: bool) -> dict[str, str]:
        """The content of each resource, with its first character removed, as Bob reads it."""
        async with Runner(service) as runner, Client(build_server(runner)) as client:
            templates = [one.uri_template for one in (await client.list_resource_templates()).resource_templates]
            names = {"name": "panel", "run_id": run_id, "iteration": "1", "response_id": "i1-m1"}
            every = {"consortium://" + one for one in ("consortiums", "models", "stats", "runs")}
            every |= {template.format(**names) for template in templates}
            came = {}
            for uri in every:
                if after_ann:
                    with calling("ann"):
                        await client.read_resource(uri)
                with calling("bob"):
                    came[uri] = await read_or_refusal(client, f"{uri}?offset=1")
            return came

    before = await read_by_bob(after_ann=False)

    assert await read_by_bob(after_ann=True) == before
    assert all("NotFoundError" in said or "No run" in said for uri, said in before.items() if run_id in uri), before


async def read_or_refusal(client: Client, uri: str) -> str:
    """The text of a resource, or what reading it fails with."""
    try:
        return str((await client.read_resource(uri)).contents)
    except MCPError as error:
        return str(error)


async def test_what_a_caller_reads_pushes_out_no_text_that_another_began(
    service: ConsortiumService, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("text.chunks", "server.resources.reading"):
        monkeypatch.setattr(f"consortium_mcp.{module}.PIECE", 1)
    uris = [f"consortium://consortiums/c{number}" for number in range(MOST_BEGUN + 1)]
    for uri in uris:
        service.store.consortiums.save.sync(uri.rpartition("/")[2], define(members=[{"model": "a"}]))
    async with Runner(service) as runner, Client(build_server(runner)) as client:
        with calling("ann"):
            await client.read_resource(uris[0])
            begun = await client.read_resource(f"{uris[0]}?offset=1")
        with calling("bob"):
            for uri in uris:
                await client.read_resource(uri)
        service.store.consortiums.save.sync("c0", define(members=[{"model": "a"}], description="now longer"))
        with calling("ann"):
            later = await client.read_resource(f"{uris[0]}?offset=1")

    assert later == begun


def test_every_read_of_the_store_is_within_the_rule(service: ConsortiumService, provider: Provider) -> None:
    with calling("ann"):
        run = service.opener.open_run(asking("?", models=["a"], arbiter="arbiter"))
    with calling("bob"):
        with pytest.raises(NotFoundError):
            service.store.runs.load.sync(run.run_id)
        counts = [
            service.store.database.read(f"SELECT count(*) FROM {table}")[0][0]
            for table in ("runs", "calls", "iterations", "attempts", "ratings")
        ]

    seen = []
    for name in ("bob", None, "ann", "bob"):  # the same statement, which SQLite keeps prepared
        with calling(name):
            seen.append(len(service.store.runs.find.sync()))

    assert counts == [0] * 5 and seen == [0, 1, 1, 0]
    assert service.store.runs.load.sync(run.run_id).caller == "ann"


def test_every_table_of_runs_is_behind_the_rule(service: ConsortiumService) -> None:
    """A table that a later schema adds must be laid behind the rule too, or named here as nobody's."""
    with calling("ann"):
        tables = {
            row[0] for row in service.store.database.read("SELECT name FROM main.sqlite_master WHERE type = 'table'")
        }
        views = {
            row[0] for row in service.store.database.read("SELECT name FROM temp.sqlite_master WHERE type = 'view'")
        }
    nobodys = {"questions", "spending", "takeovers", "caller_consortiums", "_sqlite_migrations"}

    assert {name for name in tables if not name.startswith(("runs_fts", "sqlite_"))} - nobodys == views


# How much


async def test_runs_at_once_requests_and_costs_are_bounded_for_each_caller(
    provider: Provider, token_file: Path, tmp_path: Path
) -> None:
    gate = provider.gate("a")
    limits = {"CONSORTIUM_MAX_RUNS_PER_CALLER": "2", "CONSORTIUM_TOKEN_FILE": str(token_file)}
    with http_server(tmp_path / "stderr", **limits) as (_, url):
        async with ann_and_bob(url) as (ann, bob):
            asked = [{**ONE, "prompt": f"question {number}?", "wait_seconds": 0} for number in range(3)]
            results = [await ann.call_tool("consult_consortium", one) for one in asked]
            others = await bob.call_tool("consult_consortium", asked[0])
            gate.open()
            await ann.call_tool("get_run", {"run_id": structured(results[0])["run_id"], "wait_seconds": 60})
            later = await ann.call_tool("consult_consortium", asked[2])

    assert [bool(one.is_error) for one in [*results, others, later]] == [False, False, True, False, False]
    assert "You have 2 active runs" in said(results[2])


async def test_too_many_requests_are_told_when_to_come_back(
    provider: Provider, token_file: Path, tmp_path: Path
) -> None:
    limits = {"CONSORTIUM_MAX_REQUESTS_PER_CALLER": "8", "CONSORTIUM_TOKEN_FILE": str(token_file)}
    with http_server(tmp_path / "stderr", **limits) as (_, url):
        async with ann_and_bob(url) as (ann, bob):
            results = [await ann.call_tool("list_runs", {}) for _ in range(10)]
            with pytest.raises(MCPError, match="try again in"):
                await ann.read_resource("consortium://runs")
            other = await bob.call_tool("list_runs", {})

    assert (
        results[-1].is_error and "8 requests in a minute" in said(results[-1]) and "try again in" in said(results[-1])
    )
    assert not other.is_error
    limited = [(line["caller"], line["outcome"], line["limit"]) for line in audited(tmp_path) if "limit" in line]
    assert limited and set(limited) == {("ann", "refused", "max_requests_per_caller")}


async def test_one_caller_that_fills_its_queue_leaves_room_for_another(
    provider: Provider, token_file: Path, tmp_path: Path
) -> None:
    provider.on("arbiter", verdict("yes"))
    gate = provider.gate("a")
    limits = ("--max-concurrent-runs", "4", "--max-waiting-runs", "6")
    with http_server(tmp_path / "stderr", "http", *limits, CONSORTIUM_TOKEN_FILE=str(token_file)) as (_, url):
        async with ann_and_bob(url) as (ann, bob):
            for number in range(6):
                asked = {**ONE, "prompt": f"Question {number}?", "wait_seconds": 0}
                refused = await ann.call_tool("consult_consortium", asked)
            of_bob = {"prompt": "?", "models": ["b"], "arbiter": "arbiter", "max_iterations": 1, "wait_seconds": 300}
            answered = structured(await bob.call_tool("consult_consortium", of_bob))
            gate.open()

    assert said(refused).startswith("You have 5 active runs, which is the limit.")
    assert answered["status"] == "converged"  # while every place that Ann may have is hers


async def test_a_read_that_is_stopped_names_its_limit_for_the_audit(
    service: ConsortiumService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: object, **__: object) -> Any:
        raise ReadTooLongError("Reading the database took more than 20 seconds and was stopped. Ask for less.")

    async with in_process("auto", service) as client:
        monkeypatch.setattr(Readers, "read", stopped)
        result = await client.call_tool("list_runs", {"query": "x"})

    assert result.is_error and dict(result.meta or {})[LIMIT] == "read_timeout_seconds"


async def test_a_callers_budget_for_the_day_stops_that_caller_alone(
    provider: Provider, service: ConsortiumService, token_file: Path, tmp_path: Path
) -> None:
    today = time.strftime("%Y-%m-%d", time.gmtime())
    with closing(sqlite3.connect(service.store.database.path)) as connection, connection:
        connection.execute("INSERT INTO spending VALUES (?, 9, 900, 0.5, 0)", [f"caller:{today}:ann"])
    limits = {"CONSORTIUM_MAX_COST_USD_PER_CALLER": "0.5", "CONSORTIUM_TOKEN_FILE": str(token_file)}
    with http_server(tmp_path / "stderr", **limits) as (_, url):
        async with ann_and_bob(url) as (ann, bob):
            refused = await ann.call_tool("consult_consortium", ONE)
            other = await bob.call_tool("consult_consortium", ONE)

    assert "max_cost_usd=0.50 (your budget for the day) is used up; come back after 00:00 UTC" in said(refused)
    assert "used up" not in said(other)


async def test_what_a_caller_spends_is_counted_under_its_name(url: str, service: ConsortiumService) -> None:
    async with ann_and_bob(url) as (ann, _):
        await ann.call_tool("consult_consortium", ONE)

    rows = service.store.database.read("SELECT scope, calls FROM spending WHERE scope LIKE 'caller:%'")
    assert [(row["scope"].rpartition(":")[2], row["calls"]) for row in rows] == [("ann", 2)]


OVERSIZED: list[dict[str, Any]] = [
    {"models": ["a:257"]},
    {"models": ["a:256", "b"]},
    {"models": ["a"] * 300},
    {"models": ["a"], "max_iterations": 101},
    {"models": ["a"], "max_iterations": 10**30},
    {"models": ["a"], "deadline_seconds": 1e9},
    {"models": ["a"], "wait_seconds": 601},
    {"models": ["a"], "prompt": "x" * 1001},
    {"models": ["a"], "own_answer": "x" * 1001},
    {"models": ["a"], "system_prompt": "x" * 1001},
    {"models": ["a:-1"]},
    {"models": ["a:99999999999999999999"]},
]


async def test_oversized_counts_and_texts_are_refused_before_any_call(provider: Provider, tmp_path: Path) -> None:
    with http_server(tmp_path / "stderr", CONSORTIUM_MAX_PROMPT_CHARS="1000") as (_, url):
        async with http_client(url, "auto") as client:
            for arguments in OVERSIZED:
                result = await client.call_tool("consult_consortium", {"prompt": "?", **arguments})
                assert result.is_error and len(said(result)) < 1000, arguments

    assert provider.count() == 0


async def test_a_text_that_is_too_long_is_too_long_in_a_saved_consortium_too(
    provider: Provider, service: ConsortiumService, tmp_path: Path
) -> None:
    service.store.consortiums.save.sync("before", panel("a", system_prompt="x" * 1001, arbiter="arbiter"))
    service.store.consortiums.save.sync("around", panel("before", arbiter="arbiter"))
    texts: list[str] = []
    with http_server(tmp_path / "stderr", CONSORTIUM_MAX_PROMPT_CHARS="1000") as (_, url):
        async with http_client(url, "auto") as client:
            for field in ("system_prompt", "description"):
                saved = await client.call_tool("save_consortium", {"name": "x", "models": ["a"], field: "x" * 1001})
                texts.append(said(saved))
            for name in ("before", "around"):
                for dry_run in (False, True):
                    asked = {"prompt": "?", "consortium": name, "dry_run": dry_run}
                    texts.append(said(await client.call_tool("consult_consortium", asked)))
            listed = said(await client.call_tool("list_consortiums", {}))

    refusal = "has 1001 characters; 1000 are allowed (CONSORTIUM_MAX_PROMPT_CHARS). Shorten it."
    assert f"The system prompt {refusal}" in texts[0] and f"The description {refusal}" in texts[1]
    assert all(f"The system prompt of 'before' {refusal}" in text for text in [*texts[2:], listed])
    assert provider.count() == 0 and "x" not in service.store.consortiums.list_names.sync()


# What never leaves the server


async def test_tokens_and_keys_are_in_no_log_answer_database_or_question(
    provider: Provider, token_file: Path, service: ConsortiumService, tmp_path: Path
) -> None:
    provider.on("b", Fault.wrong_key())
    texts: list[str] = []
    environment = {"CONSORTIUM_TOKEN_FILE": str(token_file), "CONSORTIUM_LOG_LEVEL": "DEBUG"}
    with http_server(tmp_path / "stderr", "http,sse", CONSORTIUM_TOKEN="the only token", **environment) as (_, url):
        texts.append(initialize(url, Authorization="Bearer a wrong token").text)
        for mode, path in (("auto", "/mcp"), ("legacy", "/mcp"), ("legacy", "/sse")):
            async with http_client(at(url, path), mode, ANN) as client:
                result = await client.call_tool("consult_consortium", {**ONE, "models": ["a", "b"]})
                texts.append(str(result))
                texts += [await read(client, uri) for uri in uris(structured(result)["run_id"])]
        async with http_client(url, "auto", "the only token") as client:
            texts.append(str(await client.call_tool("list_runs", {})))
    texts.append((tmp_path / "stderr").read_text())
    texts += [path.read_bytes().decode("latin-1") for path in service.store.database.path.parent.glob("*.db*")]
    texts += [str(request.__dict__) for request in provider.requests if API_KEY not in str(request.__dict__)]

    for secret in (ANN, "the only token", "a wrong token", API_KEY):
        assert not [text for text in texts if secret in text], secret


async def test_each_call_of_a_tool_is_a_line_in_the_audit_without_its_texts(
    provider: Provider, token_file: Path, tmp_path: Path
) -> None:
    provider.on("arbiter", verdict("a secret answer"))
    with http_server(tmp_path / "stderr", CONSORTIUM_TOKEN_FILE=str(token_file)) as (_, url):
        async with ann_and_bob(url) as (ann, bob):
            run_id = structured(await ann.call_tool("consult_consortium", {**ONE, "prompt": "a secret question"}))[
                "run_id"
            ]
            await bob.call_tool("get_run", {"run_id": run_id})
            with pytest.raises(MCPError):
                await bob.call_tool("no\nsuch", {"run_id": "x\ny"})
    lines = audited(tmp_path)

    assert [(one["caller"], one["tool"], one["run"], one["outcome"]) for one in lines] == [
        ("ann", "consult_consortium", run_id, "converged"),
        ("bob", "get_run", run_id, "error"),
        ("bob", None, None, "error"),
    ]
    assert "cost_usd" in lines[0] and "secret" not in (tmp_path / "stderr").read_text()


def test_refused_tokens_are_in_the_audit_and_a_flood_of_them_is_no_flood_there(url: str, tmp_path: Path) -> None:
    with httpx2.Client(headers={**JSON, "Authorization": "Bearer a secret guess"}) as client:
        statuses = {client.post(url, json=INITIALIZE).status_code for _ in range(50)}
    initialize(url)  # shows no token: none is refused
    until(lambda: sum(line["tokens"] for line in audited(tmp_path)) == 50)
    lines = audited(tmp_path)

    assert statuses == {401}
    assert [(one["caller"], one["tool"], one["outcome"]) for one in lines] == [(None, None, "refused")] * len(lines)
    assert lines[0]["tokens"] == 1 and len(lines) < 50
    assert "secret guess" not in (tmp_path / "stderr").read_text()


def audited(tmp_path: Path) -> list[dict[str, Any]]:
    """The lines of the audit."""
    stderr = (tmp_path / "stderr").read_text()
    return [json.loads(one.partition("INFO ")[2]) for one in stderr.splitlines() if "consortium_mcp.audit" in one]


def test_a_settings_error_does_not_repeat_the_token() -> None:
    settings = load_settings({"CONSORTIUM_TOKEN": ANN})
    with pytest.raises(ConsortiumError) as raised:
        load_settings({"CONSORTIUM_TOKEN": ANN, "CONSORTIUM_PORT": "none"})

    assert ANN not in repr(settings) and ANN not in str(raised.value)


def test_one_callers_sessions_and_requests_leave_room_for_others(
    provider: Provider, token_file: Path, tmp_path: Path
) -> None:
    """Ann opens sessions and streams until she is refused; Bob is served, and so is Ann in what she holds."""
    ping = {"jsonrpc": "2.0", "id": 2, "method": "ping"}
    limits = {"CONSORTIUM_MAX_SESSIONS_PER_CALLER": "3", "CONSORTIUM_MAX_CONNECTIONS_PER_CALLER": "2"}
    stderr = tmp_path / "stderr"
    with http_server(stderr, "http", CONSORTIUM_TOKEN_FILE=str(token_file), **limits) as (_, url):
        ann, bob = ({"Authorization": f"Bearer {token}"} for token in (ANN, BOB))
        opened = [initialize(url, **ann) for _ in range(5)]
        sessions = [{**JSON, **ann, "Mcp-Session-Id": one.headers["mcp-session-id"]} for one in opened[:3]]
        with httpx2.Client() as client, ExitStack() as streams:
            held = [streams.enter_context(client.stream("GET", url, headers=one)).status_code for one in sessions[:2]]
            refused = client.post(url, json=ping, headers=sessions[2])
            of_bob = initialize(url, **bob).status_code
        with httpx2.Client() as client:
            until(lambda: client.post(url, json=ping, headers=sessions[2]).status_code == 200)
            client.delete(url, headers=sessions[0])
            room = initialize(url, **ann).status_code
    audited = [line for line in map(json.loads, re.findall(r"{.*}", stderr.read_text())) if "limit" in line]

    assert [one.status_code for one in opened] == [200, 200, 200, 429, 429]
    assert (held, refused.status_code, of_bob, room) == ([200, 200], 429, 200, 200)
    reached = {"max_sessions_per_caller", "max_connections_per_caller"}
    assert {(line["caller"], line["limit"]) for line in audited} == {("ann", limit) for limit in reached}


def test_a_caller_saves_as_many_consortiums_as_it_may(open_service: Callable[..., ConsortiumService]) -> None:
    service = open_service(max_consortiums_per_caller=2)
    catalogue = load_catalogue(service.settings)
    with calling("ann"):
        for name in ("one", "two"):
            service.definitions.save(name, define(members=[{"model": "a"}]), catalogue, overwrite=False)
        service.definitions.save("two", define(members=[{"model": "b"}]), catalogue, overwrite=True)
        with pytest.raises(BusyError, match="You have saved 2 consortiums, which is the limit"):
            service.definitions.save("three", define(members=[{"model": "a"}]), catalogue, overwrite=False)
    with calling("bob"):
        service.definitions.save("three", define(members=[{"model": "a"}]), catalogue, overwrite=False)


async def test_a_limit_of_what_a_caller_has_saved_is_in_the_audit(
    provider: Provider, token_file: Path, tmp_path: Path
) -> None:
    provider.on("arbiter", verdict("yes"))
    limits = ("--max-saved-runs-per-caller", "2", "--max-consortiums-per-caller", "1", "--max-runs-per-caller", "1")
    with http_server(tmp_path / "stderr", "http", *limits, CONSORTIUM_TOKEN_FILE=str(token_file)) as (_, url):
        async with ann_and_bob(url) as (ann, bob):
            for name in ("one", "two"):
                saved = await ann.call_tool("save_consortium", {"name": name, "models": ["a"], "arbiter": "arbiter"})
            for number in range(3):
                refused = await ann.call_tool("consult_consortium", {**ONE, "prompt": f"Question {number}?"})
            of_bob = structured(await bob.call_tool("consult_consortium", {**ONE, "prompt": "Question 1?"}))
            tried = await ann.call_tool("consult_consortium", {**ONE, "prompt": "Question 4?"})
    limited = [line for line in audited(tmp_path) if "limit" in line]

    assert said(saved) == "You have saved 1 consortium, which is the limit. Remove one."
    assert "You have 2 saved runs, which is the limit." in said(refused) and said(tried) == said(refused)
    assert of_bob["status"] == "converged"
    assert [(line["caller"], line["tool"], line["outcome"], line["limit"]) for line in limited] == [
        ("ann", "save_consortium", "refused", "max_consortiums_per_caller"),
        *[("ann", "consult_consortium", "refused", "max_saved_runs_per_caller")] * 2,
    ]


def test_a_member_has_a_bounded_number_of_backups(service: ConsortiumService) -> None:
    with pytest.raises(InvalidConsortiumError, match="more than 16 backups"):
        service.opener.plan(asking("?", models=["|".join("a" * 18)], arbiter="a"))


@pytest.mark.parametrize("says_length", [True, False])
async def test_a_caller_who_sends_large_bodies_waits_and_no_other_does(
    says_length: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[tuple[str, int]] = []

    async def sleep(seconds: float) -> None:
        waited[-1] = waited[-1][0], round(seconds)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        """Read the body, and answer nothing."""
        await receive()

    monkeypatch.setattr("anyio.sleep", sleep)
    limited: Any = shares.Shares(app, Settings(), set)
    for name, megabytes in (("ann", 4), ("ann", 4), ("ann", 4), ("bob", 4), ("ann", 0)):
        waited.append((name, -1))

        async def receive(body: bytes = b"x" * megabytes * 1_000_000) -> Any:
            return {"type": "http.request", "body": body}

        headers = [(b"content-length", str(megabytes * 1_000_000).encode())] if says_length else []
        user = SimpleNamespace(is_authenticated=True, display_name=name)
        await limited({"type": "http", "user": user, "headers": headers}, receive, None)

    in_chunks = [("ann", 0), ("ann", 0), ("ann", 3), ("bob", 0), ("ann", 7)]  # known once it has been read
    assert waited == ([("ann", 0), ("ann", 3), ("ann", 7), ("bob", 0), ("ann", 7)] if says_length else in_chunks)
