"""The calling client's own model as a member, over stdio, in either protocol era; no key and no other model needed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from click.testing import CliRunner
from mcp import Client
from mcp.client import ClientRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types import CreateMessageRequestParams, CreateMessageResult, CreateMessageResultWithTools, TextContent

from consortium_mcp.cli import main
from tests.provider import Provider, tagged_verdict, verdict
from tests.server_process import connected, said, structured

pytestmark = pytest.mark.anyio

Sampler = Callable[[CreateMessageRequestParams], Awaitable[str | list[str]]]
TWO = {"prompt": "Capital of France?", "models": ["client", "client"]}


@pytest.fixture(params=["auto", "legacy"])
def mode(request: pytest.FixtureRequest) -> str:
    """The protocol era."""
    return str(request.param)


def asked(params: CreateMessageRequestParams) -> str:
    """The last message of a sampling request."""
    content = params.messages[-1].content
    assert isinstance(content, TextContent)
    return content.text


@asynccontextmanager
async def lending(mode: str, errlog: Path, sampler: Sampler, **environment: str) -> AsyncIterator[Client]:
    """A client whose own model is scripted."""

    async def sample(
        context: ClientRequestContext, params: CreateMessageRequestParams
    ) -> CreateMessageResult | CreateMessageResultWithTools:
        text = await sampler(params)
        if isinstance(text, str):
            block = TextContent(type="text", text=text)
            return CreateMessageResult(role="assistant", content=block, model="host-model")
        blocks = [TextContent(type="text", text=piece) for piece in text]
        return CreateMessageResultWithTools(role="assistant", content=[*blocks], model="host-model")

    async with connected(mode, errlog, sampling=sample, **environment) as client:
        yield client


async def test_a_consortium_needs_no_other_model_than_the_clients_own(mode: str, tmp_path: Path) -> None:
    both = anyio.Event()
    members: list[CreateMessageRequestParams] = []

    async def sampler(params: CreateMessageRequestParams) -> str:
        if "--- response" in asked(params):
            return tagged_verdict("Paris", confidence=0.95)
        members.append(params)
        if len(members) == 2:
            both.set()
        await both.wait()  # both instances are asked at the same time
        return "Paris\nConfidence: 90%"

    async with lending(mode, tmp_path / "stderr", sampler) as client:
        result = structured(await client.call_tool("consult_consortium", TWO))

    assert (result["answer"], result["status"], result["degraded"]) == ("Paris", "converged", [])
    assert [one["label"] for one in result["responses"]] == ["client#1", "client#2"]
    assert (result["usage"]["calls"], result["usage"]["cost_usd"]) == (3, 0.0)
    assert [asked(params) for params in members] == ["Capital of France?"] * 2
    assert all(params.system_prompt for params in members)


async def test_it_answers_beside_other_models_and_in_every_iteration(
    mode: str, tmp_path: Path, provider: Provider
) -> None:
    provider.on("arbiter", [verdict("Lyon", confidence=0.2), verdict("Paris", confidence=0.9)])
    questions: list[str] = []

    async def sampler(params: CreateMessageRequestParams) -> str:
        questions.append(asked(params))
        return "Paris"

    async with lending(mode, tmp_path / "stderr", sampler) as client:
        arguments = {"prompt": "Capital?", "models": ["a", "client"], "arbiter": "arbiter", "max_iterations": 2}
        result = structured(await client.call_tool("consult_consortium", arguments))

    assert (result["answer"], result["iterations"]) == ("Paris", 2)
    assert questions[0] == "Capital?" and "Lyon" in questions[1]


async def test_a_client_that_lends_no_model_is_told_so_before_anybody_is_asked(
    mode: str, tmp_path: Path, provider: Provider
) -> None:
    async with connected(mode, tmp_path / "stderr") as client:
        result = await client.call_tool("consult_consortium", {**TWO, "models": ["a", "client"]})

    assert result.is_error and "'client' is the calling client's own model, and this caller offers none" in said(result)
    assert provider.count() == 0


@pytest.mark.parametrize("arbiter", ["arbiter", "client"])
async def test_a_consortium_in_another_that_needs_the_clients_model_is_refused_before_anybody_is_asked(
    arbiter: str, mode: str, tmp_path: Path, provider: Provider
) -> None:
    async def sampler(params: CreateMessageRequestParams) -> str:
        return "Paris"

    inner = {"name": "inner", "models": ["b" if arbiter == "client" else "client"], "arbiter": arbiter}
    async with lending(mode, tmp_path / "stderr", sampler) as client:
        await client.call_tool("save_consortium", inner)
        arguments = {"prompt": "Capital?", "models": ["a", "inner"], "arbiter": "arbiter"}
        result = await client.call_tool("consult_consortium", arguments)
        planned = await client.call_tool("consult_consortium", {**arguments, "dry_run": True})

    refusal = (
        "The member consortium 'inner' cannot run: The model 'client' is the calling client's own model, which nested"
    )
    assert result.is_error and refusal in said(result) and refusal in said(planned)
    assert provider.count() == 0


async def test_get_run_goes_on_asking_where_the_consult_stopped_waiting(mode: str, tmp_path: Path) -> None:
    async def sampler(params: CreateMessageRequestParams) -> str:
        return tagged_verdict("Paris", confidence=0.95) if "--- response" in asked(params) else "Paris"

    async with lending(mode, tmp_path / "stderr", sampler) as client:
        run_id = structured(await client.call_tool("consult_consortium", {**TWO, "wait_seconds": 0}))["run_id"]
        result = structured(await client.call_tool("get_run", {"run_id": run_id, "wait_seconds": 600}))

    assert (result["answer"], result["status"]) == ("Paris", "converged")


async def test_an_answer_in_several_blocks_is_read_as_one(mode: str, tmp_path: Path) -> None:
    async def sampler(params: CreateMessageRequestParams) -> list[str]:
        return [tagged_verdict("Paris", confidence=0.95)] if "--- response" in asked(params) else ["Par", "is"]

    async with lending(mode, tmp_path / "stderr", sampler) as client:
        result = structured(await client.call_tool("consult_consortium", TWO))
        shown = structured(await client.call_tool("get_run", {"run_id": result["run_id"], "detail": "responses"}))

    assert result["answer"] == "Paris" and [one["text"] for one in shown["responses"]] == ["Paris", "Paris"]


async def test_what_a_person_thinks_over_for_longer_than_the_consult_waits_is_not_asked_again(tmp_path: Path) -> None:
    questions: list[str] = []

    async def sampler(params: CreateMessageRequestParams) -> str:
        questions.append(asked(params))
        await anyio.sleep(0.5)  # longer than wait_seconds
        return tagged_verdict("Paris", confidence=0.95) if "--- response" in asked(params) else "Paris"

    async with lending("legacy", tmp_path / "stderr", sampler) as client:
        first = structured(await client.call_tool("consult_consortium", {**TWO, "wait_seconds": 0.3}))
        result = structured(await client.call_tool("get_run", {"run_id": first["run_id"], "wait_seconds": 600}))

    assert (first["status"], result["answer"], len(questions)) == ("running", "Paris", 3)


async def test_what_the_client_declines_is_a_response_with_an_error(tmp_path: Path, provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris", confidence=0.9))

    async def sampler(params: CreateMessageRequestParams) -> str:
        raise MCPError(-1, "The user said no.")

    async with lending("legacy", tmp_path / "stderr", sampler) as client:
        arguments: dict[str, Any] = {"prompt": "?", "models": ["a", "b", "client"], "arbiter": "arbiter"}
        result = await client.call_tool("consult_consortium", arguments)

    assert "The client did not lend its model: The user said no)." in said(result)
    assert structured(result)["answer"] == "Paris"


def test_the_command_line_lends_no_model(provider: Provider) -> None:
    done = CliRunner().invoke(main, ["consult", "-m", "client", "-m", "a", "Why?"])

    assert done.exit_code == 1 and "an MCP client that declares sampling" in done.stderr
    assert provider.count() == 0
