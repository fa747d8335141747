"""No code blocks the event loop, because a wait for a file, a lock or a sleep would delay every other run."""

from collections.abc import Iterator
from contextlib import contextmanager

from blockbuster import blockbuster_ctx
from mcp import Client

from consortium_mcp.server import build_server
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from tests.provider import Provider, verdict
from tests.server_process import read, said, structured

ASK = {"models": ["a", "b"], "arbiter": "arbiter"}


@contextmanager
def blocking_is_an_error() -> Iterator[None]:
    """Blocking calls on an event loop raise, except for the key file, which llm itself reads for each call."""
    with blockbuster_ctx() as watched:
        for function in watched.functions.values():
            function.can_block_in("llm/__init__.py", {"get_key", "load_keys", "user_dir"})
        yield


async def test_a_consult_and_its_reading_block_nowhere(provider: Provider, service: ConsortiumService) -> None:
    provider.on("arbiter", verdict("Paris"))
    async with Runner(service) as runner, Client(build_server(runner)) as client:
        await client.call_tool("consult_consortium", {**ASK, "prompt": "What is imported by now?"})
        with blocking_is_an_error():
            done = structured(await client.call_tool("consult_consortium", {**ASK, "prompt": "Capital?"}))
            resources = (await client.list_resources()).resources
            listed = await client.call_tool("list_runs", {"query": "capital"})
            transcript = await read(client, done["transcript_uri"])

    assert done["answer"] == "Paris" and done["degraded"] == [] and "Paris" in transcript
    assert len(resources) > 5 and done["run_id"] in said(listed)
