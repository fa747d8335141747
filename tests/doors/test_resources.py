"""Resources, their lists and their chunks, read by connected clients of both protocol eras."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.shared.exceptions import MCPError
from mcp.shared.uri_template import UriTemplate
from mcp_types import INVALID_PARAMS, Resource, ResourceTemplate, TextResourceContents

from consortium_mcp.records import CallId, Run
from consortium_mcp.records.consortium import Consortium, Member
from consortium_mcp.records.uris import consortium_uri, iteration_uri
from consortium_mcp.server import build_server
from consortium_mcp.server.resources.listing import PAGE
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.text.chunks import PIECE
from consortium_mcp.text.templates import plain
from tests.consulted import consulted
from tests.history import copy_id, copy_run
from tests.paths import ROOT
from tests.provider import Fault, Provider, verdict
from tests.server_process import connected, http_server, read, said, structured

PAIR = Consortium(members=(Member(model="a", count=2), Member(model="b")), arbiter="arbiter")


@pytest.fixture
async def run(service: ConsortiumService, provider: Provider) -> Run:
    """A run that ended: `a` and `b` answered, `c` failed."""
    provider.on("a", "first *thought*")
    provider.on("c", Fault.wrong_key())
    provider.on("arbiter", verdict("Paris", confidence=0.9))
    return await consulted(service, "a", "b", "c", prompt="Capital\nof \x1b[31mFrance\x1b[0m?")


@pytest.fixture(params=["auto", "legacy"])
async def client(request: pytest.FixtureRequest, service: ConsortiumService) -> AsyncIterator[Client]:
    """A client of either era, connected to a server in this process."""
    async with Runner(service) as runner, Client(build_server(runner), mode=request.param) as client:
        yield client


async def listed(client: Client) -> list[Resource]:
    """Every resource, page by page."""
    resources: list[Resource] = []
    cursor = None
    while True:
        page = await client.list_resources(cursor=cursor)
        resources += page.resources
        cursor = page.next_cursor
        if cursor is None:
            return resources


async def refusal(ask: Callable[[], Any]) -> MCPError:
    with pytest.raises(MCPError) as caught:
        await ask()
    return caught.value


# what there is


async def test_every_resource_of_the_contract_is_there(client: Client) -> None:
    templates = (await client.list_resource_templates()).resource_templates

    assert [one.uri for one in await listed(client)] == [
        "consortium://consortiums",
        "consortium://models",
        "consortium://stats",
        "consortium://runs",
    ]
    assert [one.uri_template for one in templates] == [
        "consortium://consortiums/{name}",
        "consortium://runs/{run_id}",
        "consortium://runs/{run_id}/transcript.md",
        "consortium://runs/{run_id}/iterations/{iteration}",
        "consortium://runs/{run_id}/responses/{response_id}",
    ]


async def test_every_listed_resource_has_a_description_and_an_audience(client: Client, run: Run) -> None:
    templates = (await client.list_resource_templates()).resource_templates

    everything: list[Resource | ResourceTemplate] = [*await listed(client), *templates]
    for one in everything:
        assert one.name and one.title and one.description and one.mime_type
        assert one.annotations and one.annotations.audience and one.annotations.priority is not None


async def test_everything_that_is_listed_can_be_read_as_what_it_claims(
    client: Client, service: ConsortiumService, run: Run
) -> None:
    service.store.consortiums.save.sync("pair", PAIR)

    for one in await listed(client):
        (content,) = (await client.read_resource(one.uri)).contents
        assert isinstance(content, TextResourceContents) and content.mime_type == one.mime_type
        assert json.loads(content.text) is not None
        assert one.size in (None, len(content.text.encode()))


async def test_a_saved_consortium_has_its_size_and_date(client: Client, service: ConsortiumService) -> None:
    service.store.consortiums.save.sync("pair", PAIR)
    (resource,) = [one for one in await listed(client) if one.name == "pair"]
    (saved,) = service.store.consortiums.list_save_times.sync().values()

    assert (resource.uri, resource.size) == (consortium_uri("pair"), len((await read(client, resource.uri)).encode()))
    assert resource.annotations and resource.annotations.last_modified == saved
    assert resource.description and "a:2" in resource.description


async def test_a_run_is_listed_under_its_prompt_without_control_characters(client: Client, run: Run) -> None:
    resource = (await listed(client))[-1]

    assert (resource.uri, resource.name, resource.title) == (run.uri, run.run_id, "Capital of France?")
    assert resource.description and "converged with confidence 0.90" in resource.description
    assert resource.annotations and resource.annotations.last_modified == run.ended_utc


@pytest.mark.parametrize("name", ["a/b", "../up", "/etc", "100% sure?", "größer & c#", "Ω"])
async def test_any_name_fits_into_the_uri_of_a_consortium(
    client: Client, service: ConsortiumService, name: str
) -> None:
    service.store.consortiums.save.sync(name, PAIR)
    (resource,) = [one for one in await listed(client) if one.name == name]
    by_template = UriTemplate.parse("consortium://consortiums/{name}").expand({"name": name})

    for uri in (resource.uri, by_template):
        assert json.loads(await read(client, uri))["members"][0]["model"] == "a"


# runs and their parts


async def test_an_iteration_and_a_response_are_read_by_themselves(client: Client, run: Run) -> None:
    iteration = json.loads(await read(client, iteration_uri(run.run_id, 1)))
    texts = [
        await read(client, f"{run.uri}/responses/{CallId(one['response_id']).segment}")
        for one in iteration["responses"]
    ]

    assert iteration["verdict"]["synthesis"] == "Paris"
    assert texts[0] == "first *thought*" and texts[2].startswith("No text: ")


async def test_what_is_read_as_markdown_shows_nothing_that_hides(
    client: Client, provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", "blue\U000e0041\U000e0042 or\x1b[2J \u202egrey")
    run = await consulted(service, "a")
    texts = [await read(client, f"{run.uri}/{part}") for part in ("transcript.md", "responses/i1-m1")]

    assert "blue or grey" in texts[0] and texts[1] == "blue or grey"


async def test_a_response_id_fits_into_its_uri_as_it_stands_and_as_clients_encode_it(client: Client, run: Run) -> None:
    """`i1%2Fm1` is what both SDKs make of the id `i1/m1` for this template."""
    template = UriTemplate.parse("consortium://runs/{run_id}/responses/{response_id}")
    response_id = run.iterations[0].responses[0].response_id
    uris = [template.expand({"run_id": run.run_id, "response_id": one}) for one in (response_id, "i1-m1")]

    assert uris == [f"{run.uri}/responses/i1%2Fm1", f"{run.uri}/responses/i1-m1"]
    assert [await read(client, uri) for uri in uris] == ["first *thought*"] * 2


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("nope", "No run 'nope'. Newest runs: "),
        ("{run}/iterations/2", "The run {run} has no iteration '2'; it has 1, from 1."),
        ("{run}/iterations/x", "no iteration 'x'"),
        ("{run}/responses/i9-m1", "has no response 'i9/m1'. There are: i1/m1, i1/m2, i1/m3."),
        ("{run}/nothing", "Unknown resource"),
    ],
)
async def test_what_is_not_there_is_one_sentence(client: Client, run: Run, path: str, sentence: str) -> None:
    uri = f"consortium://runs/{path.format(run=run.run_id)}"
    error = await refusal(lambda: client.read_resource(uri))

    assert error.code == INVALID_PARAMS and sentence.format(run=run.run_id) in error.message


# pages


async def test_pages_show_every_consortium_and_then_every_run_newest_first(
    client: Client, service: ConsortiumService, run: Run
) -> None:
    copy_run(service.store, run.run_id, 2 * PAGE + 3)
    names = [f"c{number:03d}" for number in range(PAGE + 7)]
    for name in names:
        service.store.consortiums.save.sync(name, PAIR)

    everything = [one.name for one in await listed(client)]

    runs = [*(copy_id(number) for number in reversed(range(2 * PAGE + 3))), run.run_id]
    assert everything == ["consortiums", "models", "stats", "runs", *names, *runs]


async def test_a_run_that_is_opened_during_paging_moves_no_entry(
    client: Client, service: ConsortiumService, run: Run
) -> None:
    copy_run(service.store, run.run_id, PAGE + 1)
    first = await client.list_resources()
    copy_run(service.store, run.run_id, 1, first=PAGE + 1)
    second = await client.list_resources(cursor=first.next_cursor)

    assert [one.name for one in second.resources] == [copy_id(0), run.run_id]


@pytest.mark.parametrize("cursor", ["", "nope", "cnVuOg", "===", "ü", "cGFnZTox", "x" * 5_000])
async def test_a_cursor_that_is_not_ours_is_invalid_params(client: Client, cursor: str) -> None:
    errors = [
        await refusal(lambda: client.list_resources(cursor=cursor)),
        await refusal(lambda: client.list_resource_templates(cursor=cursor)),
    ]

    assert [error.code for error in errors] == [INVALID_PARAMS] * 2
    assert all(len(error.message) < 200 for error in errors)


async def test_list_runs_pages_with_the_same_kind_of_cursor(
    client: Client, service: ConsortiumService, run: Run
) -> None:
    copy_run(service.store, run.run_id, 4)
    seen, cursor = list[str](), None
    while cursor is not None or not seen:
        page = (await client.call_tool("list_runs", {"limit": 2, "cursor": cursor})).structured_content or {}
        seen += [one["run_id"] for one in page["runs"]]
        cursor = page["next_cursor"]
    refused = await client.call_tool("list_runs", {"cursor": "nope"})

    assert seen == [*(copy_id(number) for number in reversed(range(4))), run.run_id]
    assert refused.is_error and "The cursor 'nope' does not belong to this list" in said(refused)


# pieces

LONG = "0123456789" * 190_000
"""Nearly as many characters as are kept of a reply."""


async def pieces(client: Client, uri: str) -> tuple[list[str], list[str]]:
    """Each chunk of a resource and the note before it, following the URI in the previous note."""
    texts, notes = list[str](), list[str]()
    while True:
        contents = (await client.read_resource(uri)).contents
        *note, text = [content.text for content in contents if isinstance(content, TextResourceContents)]
        texts.append(text)
        notes += note
        if not note or "The next piece: " not in note[0]:
            return texts, notes
        uri = note[0].partition("The next piece: ")[2].strip()


@pytest.fixture
async def long_run(service: ConsortiumService, provider: Provider) -> Run:
    """A run with five megabytes from a member and from the arbiter."""
    provider.on("a", LONG)
    provider.on("arbiter", verdict(f'\x01\x02 "quoted" ü {LONG}'))
    return await consulted(service, "a")


async def test_five_megabytes_are_read_in_pieces_by_clients_of_both_eras_on_both_transports(
    long_run: Run, tmp_path: Path
) -> None:
    uri = f"{long_run.uri}/responses/i1-m1"
    offsets = (0, len(LONG) // 2, len(LONG) - 5)
    came = dict[tuple[str, str], bool]()
    for mode in ("auto", "legacy"):
        async with connected(mode, tmp_path / "stderr") as client:
            came[mode, "stdio"] = all([await piece_at(client, uri, offset) for offset in offsets])
    with http_server(tmp_path / "stderr") as (_, url):
        for mode in ("auto", "legacy"):
            async with Client(url, mode=mode) as client:
                came[mode, "http"] = all([await piece_at(client, uri, offset) for offset in offsets])

    assert len(came) == 4 and all(came.values())


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_a_consult_whose_answers_are_five_megabytes_returns_their_beginning_and_where_the_rest_is(
    provider: Provider, tmp_path: Path, mode: str, transport: str
) -> None:
    provider.on("a", LONG)
    provider.on("arbiter", verdict(LONG))
    async with AsyncExitStack() as held:
        if transport == "stdio":
            client = await held.enter_async_context(connected(mode, tmp_path / "stderr"))
        else:
            _, url = held.enter_context(http_server(tmp_path / "stderr"))
            client = await held.enter_async_context(Client(url, mode=mode))
        asked = {"prompt": "?", "models": ["a"], "arbiter": "arbiter", "max_iterations": 1, "wait_seconds": 100}
        result = await client.call_tool("consult_consortium", asked)
        answer = structured(result)
        came = await piece_at(client, f"{answer['run_uri']}/responses/i1-m1", len(LONG) // 2)

    first = said(result)[:500]
    assert answer["status"] == "exhausted" and LONG[:5_000] in answer["answer"]
    assert "Call get_run with part=2" in first and len(said(result)) < 30_000, first
    assert came


async def piece_at(client: Client, uri: str, offset: int) -> bool:
    """Whether the piece of LONG that begins at an offset comes whole."""
    note, text = (await client.read_resource(f"{uri}?offset={offset}")).contents
    return isinstance(text, TextResourceContents) and text.text == LONG[offset : offset + PIECE]


async def test_the_pieces_of_a_record_are_the_whole_record(service: ConsortiumService, long_run: Run) -> None:
    uris = [long_run.uri, long_run.transcript_uri, iteration_uri(long_run.run_id, 1)]
    async with Runner(service) as runner, Client(build_server(runner)) as client:
        record, transcript, iteration = ["".join((await pieces(client, uri))[0]) for uri in uris]

    assert json.loads(record)["answer"] == long_run.answer
    assert json.loads(iteration)["responses"][0]["text"] == LONG
    assert long_run.answer and plain(long_run.answer) in transcript and LONG in transcript


async def test_a_piece_says_first_which_one_it_is_and_where_the_next_one_is(
    client: Client, service: ConsortiumService, provider: Provider
) -> None:
    text = "x" * (PIECE + 5)
    provider.on("a", text)
    uri = f"{(await consulted(service, 'a')).uri}/responses/i1-m1"
    texts, notes = await pieces(client, uri)

    assert texts == ["x" * PIECE, "x" * 5]
    assert notes == [
        f"Cut: these are the characters 0 to {PIECE} of {PIECE + 5}. The next piece: {uri}?offset={PIECE}\n",
        f"Cut: these are the characters {PIECE} to {PIECE + 5} of {PIECE + 5}. This is the last piece.\n",
    ]


async def test_the_pieces_of_a_text_fit_together_though_it_grows_meanwhile(
    client: Client, service: ConsortiumService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consortium_mcp.text.chunks.PIECE", 100)
    monkeypatch.setattr("consortium_mcp.server.resources.reading.PIECE", 100)
    service.store.consortiums.save.sync("pair", PAIR)
    first, _ = await pieces(client, consortium_uri("pair"))
    (_, begun) = (await client.read_resource(consortium_uri("pair"))).contents
    service.store.consortiums.save.sync("pair", PAIR.model_copy(update={"description": "something new"}))
    rest, _ = await pieces(client, f"{consortium_uri('pair')}?offset=100")

    assert isinstance(begun, TextResourceContents) and [begun.text, *rest] == first


@pytest.mark.parametrize("offset", ["-1", "x", "", "99999999999999999999", "1000000"])
async def test_an_offset_at_which_nothing_begins_is_invalid_params(client: Client, run: Run, offset: str) -> None:
    error = await refusal(lambda: client.read_resource(f"{run.uri}?offset={offset}"))

    assert error.code == INVALID_PARAMS and "has no valid offset" in error.message


def test_the_docs_say_how_long_a_piece_is() -> None:
    assert f"more than {PIECE:,} characters" in (ROOT / "docs" / "tools.md").read_text()
