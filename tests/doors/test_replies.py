"""Replies as providers, gateways and small models send them: each is read correctly, or gives one correct sentence."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consortium_mcp.models.reply_faults import ReplyFault
from consortium_mcp.models.reply_reader import ReplyReader
from consortium_mcp.records import ErrorKind
from consortium_mcp.reports.markdown import transcript
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted, member
from tests.provider import Fault, Provider, Reply, verdict
from tests.replies import AT_ONCE, GOOD, WAYS, Made, RawEndpoint, cases, is_right, made_of, write_config

BATTERY = {case.name: case for case in cases()}

PYTHON = re.compile(r"\w+Error\b|NoneType|object (is|has)|attribute|Traceback|<class|list index")
"""Words that occur only in Python's own errors."""


@pytest.fixture(scope="module")
def made() -> dict[str, dict[str, Made]]:
    """The result of every reply, in every way."""
    return {way: made_of(list(BATTERY.values()), way) for way in WAYS}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", BATTERY)
def test_a_reply_comes_out_as_it_should(made: dict[str, dict[str, Made]], name: str, way: str) -> None:
    assert is_right(made[way][name], BATTERY[name].expected, way), made[way][name]


def test_the_battery_is_large_and_shows_every_kind_that_a_reply_can_have() -> None:
    kinds = {case.expected.kind for case in BATTERY.values()} - {None}

    assert len(BATTERY) >= 150
    assert set(get_args(ErrorKind)) - kinds == {"cancelled", "internal"}


def test_no_broken_reply_counts_as_whole_and_no_sentence_has_words_of_python(
    made: dict[str, dict[str, Made]],
) -> None:
    every = [one for way in WAYS for one in made[way].values()]

    assert not [one for one in every if one.kind == "internal" or PYTHON.search(one.says or "")]
    assert not [name for name in BATTERY if BATTERY[name].expected.kind and not made["direct"][name].kind]


# the reader, whatever arrives

TEXT = "The answer is forty-two, größer \U0001f600."
EVENTS = [
    b'data: {"choices": [{"index": 0, "delta": {"content": "The answer is "}}]}\n\n',
    'data: {"choices": [{"index": 0, "delta": {"content": "forty-two, größer "}}]}\n\n'.encode(),
    b'data: {"choices": [{"index": 0, "delta": {"content": "\\ud83d"}}]}\n\n',
    b'data: {"choices": [{"index": 0, "delta": {"content": "\\ude00."}, "finish_reason": "stop"}]}\n\n',
]
NOISE = st.binary(max_size=40).filter(lambda noise: b"[DONE]" not in noise)


def cut(content: bytes, places: list[int]) -> Iterator[bytes]:
    """The content in pieces that begin at these places."""
    cuts = sorted({0, len(content), *(place % (len(content) + 1) for place in places)})
    return (content[begin:end] for begin, end in zip(cuts, cuts[1:], strict=False))


@given(st.lists(NOISE, min_size=5, max_size=5), st.lists(st.integers(min_value=0), max_size=8))
def test_no_noise_between_events_and_no_cut_loses_a_complete_text(noise: list[bytes], places: list[int]) -> None:
    lines = [b"\n: " + one.replace(b"\n", b"").replace(b"\r", b"") + b"\n\n" for one in noise]
    content = b"".join(line + event for line, event in zip(lines, [*EVENTS, b""], strict=True))

    reader = ReplyReader()
    pieces = [piece for chunk in cut(content, places) for piece in reader.feed(chunk)] + list(reader.end())

    assert "".join(choice["delta"]["content"] or "" for piece in pieces for choice in piece["choices"]) == TEXT


@given(st.binary(max_size=200), st.lists(st.integers(min_value=0), max_size=5), st.booleans())
def test_no_bytes_make_the_reader_raise_anything_but_a_fault(
    content: bytes, places: list[int], after_an_event: bool
) -> None:
    reader = ReplyReader()
    try:
        for chunk in cut(EVENTS[0] + content if after_an_event else content, places):
            list(reader.feed(chunk))
        list(reader.end())
    except ReplyFault as fault:
        assert str(fault)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from("choices delta message content finish_reason error usage index".split()), inner
        )
    ),
    max_leaves=12,
)


@given(JSON)
def test_no_value_makes_the_reader_raise_anything_but_a_fault(value: object) -> None:
    reader = ReplyReader()
    try:
        list(reader.feed(b"data: " + json.dumps(value).encode() + b"\n\n"))
        list(reader.end())
    except ReplyFault as fault:
        assert str(fault)


# what the caller is told


async def test_a_reply_that_broke_off_is_kept_in_part_and_the_answer_says_so(
    provider: Provider, service: ConsortiumService
) -> None:
    service.timing = AT_ONCE
    provider.on("a", Reply("The answer is for", finish_reason="error"))
    provider.on("arbiter", verdict("from b alone"))

    run = await consulted(service, "a", "b")

    kept = run.iterations[0].responses[0]
    assert (kept.text, kept.ok, run.answer, provider.count("a")) == ("The answer is for", False, "from b alone", 3)
    assert run.degraded[1] == "Broken off, kept in part and not judged: a#1."
    assert "The answer is for" not in provider.requests_to("arbiter")[0].prompt


async def test_thinking_is_shown_in_a_block_of_its_own_and_never_judged(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", "<think>Perhaps 41?</think>It is 42.")
    provider.on("arbiter", verdict("It is 42."))

    run = await consulted(service, "a")

    assert "Perhaps" not in provider.requests_to("arbiter")[0].prompt
    assert "### a#1" in transcript(run) and "\n\n#### Thinking\n\nPerhaps 41?" in transcript(run)


@pytest.mark.parametrize(
    "error",
    [
        "This model's maximum context length is 2000 tokens. However, your messages resulted in 4000 tokens.",
        "prompt is too long",
    ],
    ids=["with the tokens", "without a number"],
)
async def test_a_question_that_is_too_long_for_the_arbiter_is_shortened_and_asked_once_more(
    provider: Provider, service: ConsortiumService, error: str
) -> None:
    provider.on("a", "Short and whole.")
    provider.on("b", f"The beginning. {'middle ' * 3000} The end.")
    too_long = Fault.refused("too_long", 400, "context_length_exceeded", error).without_sdk_retries()
    provider.on("arbiter", [too_long, verdict("It is 42.")])

    run = await consulted(service, "a", "b")

    first, second = (request.prompt for request in provider.requests_to("arbiter"))
    assert len(second) < len(first) * 0.6 and "characters cut" in second
    assert "Short and whole." in second and "The beginning." in second and "The end." in second
    assert (run.answer, run.iterations[0].judged_by) == ("It is 42.", None)
    assert run.degraded == (
        "The arbiter arbiter judged, but its question was too long, so it saw shortened responses.",
    )


async def test_a_question_that_stays_too_long_is_asked_of_a_member_instead(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", member("a long answer " * 900, verdict("judged by a member")))
    provider.on("arbiter", Fault.context_length().without_sdk_retries())

    run = await consulted(service, "a")

    assert (run.answer, provider.count("arbiter")) == ("judged by a member", 2)


@pytest.mark.parametrize(
    "delta",
    [
        {"reasoning_content": verdict("It is 42.")},
        {"tool_calls": [{"index": 0, "function": {"name": "answer", "arguments": verdict("It is 42.")}}]},
        {"content": f"<think>{verdict('It is 42.')}"},
    ],
    ids=["thinking beside the content", "a tool's arguments", "thinking that is never closed"],
)
async def test_a_verdict_that_is_no_content_is_read(
    provider: Provider, service: ConsortiumService, delta: dict[str, Any]
) -> None:
    piece = {"choices": [{"index": 0, "delta": delta, "finish_reason": "stop"}]}
    stream = f"data: {json.dumps(piece)}\n\ndata: [DONE]\n\n".encode()
    provider.on("arbiter", Fault("verdict elsewhere", body=stream, content_type="text/event-stream"))

    run = await consulted(service, "a")

    assert (run.answer, run.degraded, provider.count("arbiter")) == ("It is 42.", (), 1)


RESPONSES_EVENTS: list[dict[str, Any]] = [
    {"type": "response.created", "response": {"id": "r", "output": []}},
    {"type": "response.output_text.delta", "delta": "The answer is for", "item_id": "i", "output_index": 0},
]


async def test_a_reply_of_the_responses_api_that_never_completes_is_broken_off(
    service: ConsortiumService, llm_home: Path
) -> None:
    service.timing = AT_ONCE
    events = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in RESPONSES_EVENTS)
    head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
    endpoint = RawEndpoint({"r": f"{head}{events}".encode()} | GOOD)
    server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
    write_config(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", [*GOOD], responses=["r"])

    run = await consulted(service, "r", "whole", max_iterations=1)
    server.close()

    response = run.iterations[0].responses[0]
    assert (response.text, response.error_kind, endpoint.requests["r"]) == ("The answer is for", "broken_off", 3)
