"""Streamed replies without the SDK: the same results as with it, over kept connections."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consortium_mcp.models.catalogue import load_catalogue
from consortium_mcp.models.openai_clients import KeptClients
from consortium_mcp.models.reply_events import EventReader
from consortium_mcp.models.reply_reader import ReplyPart
from tests.provider import Fault, Provider, Reply

PIECES = st.dictionaries(st.text(max_size=3), st.text(max_size=9) | st.none() | st.integers(), max_size=3).filter(
    lambda piece: not piece.get("error")
)
BESIDE = st.sampled_from(["", ": still working", "id: 7", "retry: 5", "event: message", "unknown", "data-like: x"])


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[Any], list[bytes]]:
    """What events hold, and the bytes that bring them, cut anywhere."""
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    pieces, text = draw(st.lists(PIECES, max_size=4)), ""
    for piece in pieces:
        written = json.dumps(piece, ensure_ascii=False, indent=draw(st.sampled_from([None, 1])))
        lines = [draw(st.sampled_from(["data: ", "data:"])) + line for line in written.split("\n")]
        text += end.join([draw(BESIDE.filter(bool)), *lines, "", ""])
    content = (text + draw(st.sampled_from(["", ": the end"]))).encode()
    cuts = sorted(draw(st.lists(st.integers(0, len(content)), max_size=5)))
    return pieces, [content[begin:stop] for begin, stop in zip([0, *cuts], [*cuts, len(content)], strict=True)]


@given(streams())
def test_events_are_read_as_the_sdk_reads_them_however_they_are_cut(stream: tuple[list[Any], list[bytes]]) -> None:
    pieces, chunks = stream

    reader = EventReader()
    ours = [json.loads(data) for chunk in chunks for data in reader.feed(chunk)]
    ours += [json.loads(data) for data in reader.end()]

    assert ours == list(_as_the_sdk_reads(chunks)) == pieces


def _as_the_sdk_reads(chunks: list[bytes]) -> Iterator[Any]:
    client = openai.OpenAI(api_key="none", base_url="http://127.0.0.1")
    request = httpx2.Request("POST", "http://127.0.0.1")
    response = httpx2.Response(200, content=iter(chunks), request=request)
    return iter(openai.Stream(cast_to=object, response=response, client=client))


def test_a_part_of_a_reply_has_what_came_and_none_of_the_rest() -> None:
    part = json.loads('{"choices": [{"delta": {"content": "so"}}]}', object_hook=ReplyPart)

    assert part.choices[0].delta.content == "so" and part.usage is None and part.choices[0].delta.tool_calls is None
    assert part.model_dump() == {"choices": [{"delta": {"content": "so"}}]}
    assert not hasattr(part, "top_logprobs")  # llm asks so which kind of reply it has


class Kept:
    """A model of llm's whose clients are kept, and what it answers."""

    def __init__(self) -> None:
        self.clients = KeptClients()
        entry = load_catalogue().usable("a")
        self.clients.use_in(entry)
        self.model: Any = entry.async_model

    async def says(self) -> str:
        """Its reply to a prompt."""
        return str(await self.model.prompt("why?").text())


async def test_a_reply_leaves_its_connection_to_the_next_one(llm_home: Path) -> None:
    with Provider(keep_alive=True) as provider:
        provider.write_llm_config(llm_home, ["a"])
        provider.on("a", Reply("because it is so, in many pieces"))
        kept = Kept()

        said = [await kept.says() for _ in range(5)]
        await kept.clients.aclose()

        assert said == ["because it is so, in many pieces"] * 5 and provider.connections == 1


async def test_what_else_a_plugin_asks_of_a_provider_is_in_the_body(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Kept()
    build = kept.model.build_kwargs
    extra = {"extra_body": {"provider": {"order": ["near"]}}}
    monkeypatch.setattr(kept.model, "build_kwargs", lambda *given: build(*given) | extra)

    await kept.says()
    await kept.clients.aclose()

    body = json.loads(provider.requests[0].body)
    assert body["provider"] == {"order": ["near"]} and "extra_body" not in body


@pytest.mark.parametrize("given", [{"extra_headers": {"x-title": "ours"}}, {"timeout": 7}], ids=["headers", "timeout"])
async def test_what_else_a_plugin_asks_of_the_sdk_is_done(
    provider: Provider, monkeypatch: pytest.MonkeyPatch, given: dict[str, Any]
) -> None:
    kept = Kept()
    build = kept.model.build_kwargs
    monkeypatch.setattr(kept.model, "build_kwargs", lambda *asked: build(*asked) | given)
    provider.on("a", "because")

    said = await kept.says()
    await kept.clients.aclose()

    headers = provider.requests[0].headers
    assert said == "because"
    assert headers.get("x-title") == "ours" or headers.get("x-stainless-read-timeout") == "7"


async def test_a_proxy_that_the_environment_names_is_used(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # where nobody listens
    kept = Kept()

    with pytest.raises(openai.APIConnectionError):
        await kept.says()
    await kept.clients.aclose()

    assert provider.count() == 0


async def test_no_session_of_a_loop_is_left_open(provider: Provider, recwarn: pytest.WarningsRecorder) -> None:
    kept = Kept()
    await kept.says()
    await kept.clients.aclose()

    assert not [str(one.message) for one in recwarn if re.search("nclosed", str(one.message))]


EVENTS = b"""data: {"choices": [{"index": 0, "delta": {"role": "assistant", "content": "hello"}}]}

data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}

data: [DONE]

"""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"


def chunked(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@pytest.mark.parametrize(
    "reply",
    [
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(EVENTS),
        HEAD + b"Content-Length: %d\r\n\r\n" % (len(EVENTS) + 9) + EVENTS,
        HEAD + b"Connection: close\r\n\r\n" + EVENTS.replace(b"\n", b"\r"),
        HEAD + b"x-long: %s\r\nConnection: close\r\n\r\n" % (b"x" * 20_000) + EVENTS,
    ],
    ids=["no last chunk", "shorter than said", "lines end in CR", "a long header"],
)
async def test_a_reply_that_is_there_is_one_however_its_connection_ends(llm_home: Path, reply: bytes) -> None:
    """The SDK by itself, on aiohttp, would not read the long header: what is tested here is read without it."""
    asked: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head + await reader.readexactly(int(re.findall(rb"(?i)content-length: (\d+)", head)[0])))
        writer.write(reply)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1") as server:
        write_model(llm_home, server.sockets[0].getsockname()[1])
        kept = Kept()
        response = await kept.model.prompt("why?")
        said = (await response.text(), response.input_tokens, response.output_tokens)
        await kept.clients.aclose()

    assert said == ("hello", 3, 4) and len(asked) == 1


def write_model(llm_home: Path, port: int, **more: Any) -> None:
    """Let llm know the model `a`, of a server of the test's own."""
    entry = {
        "model_id": "a",
        "model_name": "a",
        "api_base": f"http://127.0.0.1:{port}/v1",
        "api_key_name": "key",
        **more,
    }
    (llm_home / "extra-openai-models.yaml").write_text(json.dumps([entry]))
    (llm_home / "keys.json").write_text(json.dumps({"key": "a-key-of-the-test"}))


def port_of(provider: Provider) -> int:
    return urlsplit(provider.url).port or 0


@pytest.mark.parametrize("status", [300, 302, 304])
async def test_a_status_that_brings_no_reply_is_told_as_the_sdk_tells_it(provider: Provider, status: int) -> None:
    provider.on("a", Fault("no reply", status=status, body=b""))
    kept = Kept()

    with pytest.raises(openai.APIStatusError):
        await kept.says()
    await kept.clients.aclose()


async def test_the_models_own_host_is_named(provider: Provider, llm_home: Path) -> None:
    write_model(llm_home, port_of(provider), headers={"Host": "model.example", "accept-encoding": "identity"})
    kept = Kept()

    await kept.says()
    await kept.clients.aclose()

    (request,) = provider.requests
    assert (request.headers["host"], request.headers["accept-encoding"]) == ("model.example", "identity")


async def test_a_name_and_a_password_in_the_address_are_sent(provider: Provider, llm_home: Path) -> None:
    write_model(llm_home, port_of(provider), api_base=f"http://me:secret@127.0.0.1:{port_of(provider)}/v1")
    kept = Kept()

    said = await kept.says()
    await kept.clients.aclose()

    assert said and provider.count() == 1
