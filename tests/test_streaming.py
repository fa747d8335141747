"""Streamed replies that are read without the SDK: the same as it reads them, over connections that are kept."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consortium_mcp.catalogue import load_catalogue
from consortium_mcp.clients import KeptClients
from consortium_mcp.streaming import EventReader, ReplyPart
from tests.provider import Provider, Reply

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
    content = (text + draw(st.sampled_from(["", "data: {}", ": the end"]))).encode()
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
