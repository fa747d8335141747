"""Attacks by hostile callers, field by field; and the threat table of docs/serving.md names existing tests."""

import ast
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import pytest
from hypothesis import Phase, given, settings
from mcp import Client
from mcp.shared.exceptions import MCPError

from consortium_mcp._util.caller import calling
from consortium_mcp.models.sampling_queue import SamplingQueue
from consortium_mcp.records import CallId, CallResult, CallSpec
from consortium_mcp.server.network.hidden_paths import HiddenPaths
from consortium_mcp.service.service import ConsortiumService
from tests.bad_requests import CUT, RawRequest, Sender, bad_requests
from tests.doors.test_access import ANN, ann_and_bob, token_file, uris, url
from tests.doors.test_serving import ONE, at
from tests.in_process import in_process
from tests.paths import ROOT, TESTS
from tests.provider import API_KEY, Fault, Provider, verdict
from tests.server_process import (
    INITIALIZE,
    JSON,
    connected,
    http_client,
    http_server,
    read,
    resident_mb,
    said,
    structured,
)

__all__ = ["token_file", "url"]  # fixtures of that module, used here too


TRAVERSALS = (
    "../../etc/passwd",
    "..%2F..%2Fetc%2Fpasswd",
    "%2e%2e/%2e%2e",
    "/etc/passwd",
    "file:///etc/passwd",
    "..\\x",
)

BAD_EXAMPLES = 90
"""Of 225 requests and more each."""

PHASES = (Phase.generate, Phase.shrink)

MOST_GROWN_MB = 4
"""How much the server's memory may grow over the last two thirds of 20,000 bad requests: 300 bytes a request would be
more. Measured: under 2 MB, after the first third has warmed everything up."""

INJECTIONS = (
    "'; DROP TABLE runs; --",
    '" OR 1=1 --',
    "%' UNION SELECT config FROM consortium_configs --",
    "\0",
    "\x1b]0;title\x07\x1b[2J",
    "a\r\nSet-Cookie: x=1",
    "NEAR(a b) AND *",
    "\ud800",
    "\u202e\u2066",
    "${jndi:ldap://x}{{7*7}}%s%n",
    "x" * 100_000,
)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_path_in_any_parameter_of_a_resource_reads_no_file(mode: str, provider: Provider, url: str) -> None:
    """Nor does SQL or a control character do anything there."""
    short = (one for one in INJECTIONS if len(one) < 1000 and not has_surrogate(one))  # longer ones fit into no header
    texts = (*TRAVERSALS, *short)
    async with http_client(url, mode, ANN) as client:
        templates = [one.uri_template for one in (await client.list_resource_templates()).resource_templates]
        for template in templates:
            for parameter in re.findall(r"\{(\w+)\}", template):
                for value in (*TRAVERSALS, *(quote(text, safe="") for text in texts)):
                    uri = re.sub(r"\{\w+\}", "1", template.replace(f"{{{parameter}}}", value))
                    with pytest.raises(MCPError) as raised:
                        await client.read_resource(uri)
                    assert "root:" not in str(raised.value)


async def test_sql_and_control_characters_in_every_field_of_every_tool_harm_nothing(
    provider: Provider, url: str, service: ConsortiumService
) -> None:
    provider.on("arbiter", verdict("Paris"))
    async with http_client(url, "auto", ANN) as client:
        run_id = structured(await client.call_tool("consult_consortium", ONE))["run_id"]
        tools = (await client.list_tools()).tools
        for tool in tools:
            for field in text_fields(tool.input_schema):
                for text in (one for one in INJECTIONS if not has_surrogate(one)):
                    arguments = {**needed(tool.name, run_id), field: text, **cheap(tool.name)}
                    result = await client.call_tool(tool.name, arguments)
                    assert "Error executing tool" not in said(result) and "Traceback" not in said(result)
        after = structured(await client.call_tool("get_run", {"run_id": run_id}))

    assert after["answer"] == "Paris"
    assert service.store.runs.load.sync(run_id).status == "converged"


def text_fields(schema: dict[str, Any]) -> list[str]:
    """The arguments that can be a text."""
    return [name for name, field in schema["properties"].items() if '"string"' in json.dumps(field)]


def needed(tool: str, run_id: str) -> dict[str, Any]:
    """The required arguments of a tool."""
    arguments: dict[str, dict[str, Any]] = {
        "consult_consortium": {"prompt": "?"},
        "get_run": {"run_id": run_id},
        "cancel_run": {"run_id": run_id},
        "rate_run": {"run_id": run_id, "score": 0.5},
        "save_consortium": {"name": "panel", "models": ["a"], "overwrite": True},
        "remove_consortium": {"name": "panel"},
    }
    return arguments.get(tool, {})


def cheap(tool: str) -> dict[str, Any]:
    """The arguments with which a consult makes no model call."""
    return {"dry_run": True} if tool == "consult_consortium" else {}


def has_surrogate(text: str) -> bool:
    """Whether JSON in UTF-8 cannot carry it."""
    return any("\ud800" <= one <= "\udfff" for one in text)


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:Generating overly large repr")  # it stands where what failed is to be said
@pytest.mark.usefixtures("cold_start")
def test_bad_requests_are_refused_without_a_crash_or_a_leak_of_sessions(tmp_path: Path) -> None:
    """20,000 of what no client of the SDK would send, over 16 connections at once."""
    environment = {"CONSORTIUM_MAX_SESSIONS": "500", "CONSORTIUM_ALLOWED_MODELS": "none"}
    statuses: Counter[int] = Counter()
    memory_mb: list[float] = []
    with http_server(tmp_path / "stderr", "http,sse", **environment) as (process, url), Sender(url) as sender:

        @settings(max_examples=BAD_EXAMPLES, derandomize=True, database=None, deadline=None, phases=PHASES)
        @given(bad_requests(urlsplit(url).netloc))
        def refuse(requests: list[RawRequest]) -> None:
            answers = sender.statuses(requests)
            statuses.update(answers)
            memory_mb.append(resident_mb(process.pid))
            assert not [(status, one) for status, one in zip(answers, requests, strict=True) if status >= 500]
            assert not [one for status, one in zip(answers, requests, strict=True) if status == CUT and not one.ends]

        refuse()
        with httpx2.Client(timeout=30) as client:
            healthy = client.get(at(url, "/healthz")).status_code
            room = range(500 - len(sender.sessions))
            served = [client.post(url, json=INITIALIZE, headers=JSON).status_code for _ in [*room, "one too many"]]
    log = (tmp_path / "stderr").read_text()

    assert statuses.total() >= 20_000
    assert healthy == 200 and served == [200] * len(room) + [503]
    assert memory_mb[-1] - memory_mb[len(memory_mb) // 3] < MOST_GROWN_MB
    assert "Traceback" not in log and not re.search(r"[^\n -~…]", log)


async def test_no_file_of_the_server_is_read_because_a_caller_names_it(
    provider: Provider, llm_home: Path, tmp_path: Path
) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the content of the file")
    templates = llm_home / "templates"
    templates.mkdir()
    (templates / "mine.yaml").write_text("prompt: the text of a template")
    provider.on("arbiter", verdict("Paris"))
    names = [str(secret), f"file://{secret}", f"@{secret}", f"-f {secret}", f"fragment:{secret}", "-t mine", "mine"]

    with http_server(tmp_path / "stderr") as (_, url):
        async with http_client(url, "auto") as client:
            for name in names:
                texts = {"prompt": name, "system_prompt": name, "own_answer": name}
                result = await client.call_tool("consult_consortium", {**ONE, **texts})
                assert not result.is_error

    asked = [request.body.decode() for request in provider.requests]
    assert len(asked) == 2 * len(names)
    assert not [one for one in asked if "content of the file" in one or "text of a template" in one or '"tools"' in one]


async def test_models_that_are_not_allowed_are_not_reached_by_any_way(provider: Provider, tmp_path: Path) -> None:
    async with connected("auto", tmp_path / "first") as client:
        await client.call_tool("save_consortium", {"name": "inner", "models": ["c"], "arbiter": "c"})
        await client.call_tool("save_consortium", {"name": "outer", "models": ["inner"], "arbiter": "a"})

    with http_server(tmp_path / "stderr", "http", "--allowed-models", "a,b,inner,outer") as (_, url):
        async with http_client(url, "auto") as client:
            ways: list[dict[str, Any]] = [
                {"models": ["c"]},
                {"models": ["a"], "arbiter": "c"},
                {"models": ["a|c"]},
                {"models": ["a"], "arbiter": "a|c"},
                {"consortium": "inner"},
                {"models": ["inner"], "arbiter": "a"},
                {"consortium": "outer"},
            ]
            results = [await client.call_tool("consult_consortium", {"prompt": "?", **way}) for way in ways]
            allowed = await client.call_tool("consult_consortium", {"prompt": "?", "models": ["a|b"], "arbiter": "b"})

    assert provider.count("c") == 0
    assert [bool(one.is_error) for one in results] == [True] * len(ways)
    assert all("not allowed here" in said(one) for one in results)
    assert not allowed.is_error


async def test_a_forged_state_neither_reads_nor_answers_anothers_run(
    url: str, provider: Provider, service: ConsortiumService
) -> None:
    gate = provider.gate("a")
    async with ann_and_bob(url) as (ann, bob):
        run_id = structured(await ann.call_tool("consult_consortium", {**ONE, "wait_seconds": 0}))["run_id"]
        forged = await forge(bob, f"run:{run_id}")
        absent = await forge(bob, "run:01m00000000000000000000000")
        gate.open()

    assert "No run" in forged and "No run" in absent and "waiting for" not in forged


async def forge(client: Client, state: str) -> str:
    """The result of a request that claims to continue with a state that its client never got."""
    try:
        result = await client.session.call_tool("consult_consortium", {"prompt": "?"}, request_state=state)
    except MCPError as error:
        return f"No run: {error}"
    return "".join(getattr(block, "text", "") for block in result.content)


def test_a_client_is_asked_and_answers_for_its_own_callers_runs_alone() -> None:
    calls = SamplingQueue()
    spec = CallSpec(call_id=CallId("i1/m1"), iteration=1, label="client#1", model="client", prompt="a secret question")
    forged = CallResult(text="forged")

    with calling("ann"), calls.asking("run", spec) as call:
        with calling("bob"):
            of_bob = calls.waiting("run")
            calls.answer("run", spec.call_id, forged)
        of_ann = calls.waiting("run")

    assert (of_bob, of_ann, call.result) == ([], [call], None)


async def test_a_key_in_a_providers_error_reaches_no_client(provider: Provider, url: str) -> None:
    provider.on("a", Fault.refused("repeats", 401, "invalid_api_key", f"Incorrect API key provided: {API_KEY}"))
    async with http_client(url, "auto", ANN) as client:
        result = await client.call_tool("consult_consortium", ONE)
        (run,) = structured(await client.call_tool("list_runs", {}))["runs"]
        resources = [await read(client, uri) for uri in uris(run["run_id"])]
        texts = [said(result), str(result.structured_content), *resources]

    assert result.is_error and not [text for text in texts if API_KEY in text]


async def test_an_error_over_the_network_names_no_folder_of_the_server(service: ConsortiumService) -> None:
    path = service.store.database.path
    hidden = HiddenPaths([path.parent])
    async with in_process("auto", service, hidden) as client:
        service.store.database.close()  # from now on whatever is read says that it cannot be
        errors = [said(await client.call_tool("list_runs", {}))]
        for request in (client.list_resources(), client.read_resource("consortium://runs")):
            with pytest.raises(MCPError) as raised:
                await request
            errors.append(str(raised.value))

    assert not [error for error in errors if path.name not in error or str(path.parent) in error]


@pytest.mark.parametrize("query", ['"\n" OR a', '"\nNEAR(', '" AND marks : x', "x" * 3_000_000, "x " * 400])
async def test_no_query_reaches_the_syntax_of_the_search_or_takes_its_time(
    service: ConsortiumService, query: str
) -> None:
    async with in_process("auto", service, HiddenPaths([service.store.database.path.parent])) as client:
        result = await client.call_tool("list_runs", {"query": query})

    assert said(result) == "No run matches." or "at most" in said(result) or "are allowed" in said(result)


def test_the_threat_table_names_tests_that_exist() -> None:
    table = (ROOT / "docs" / "serving.md").read_text()
    named = set(re.findall(r"`(test_\w+)`", table))
    written = {
        node.name
        for path in TESTS.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }

    assert len(named) > 20 and named - written == set()
    assert all("`test_" in row for row in re.findall(r"^\| [^-].*", table.partition("## Threats")[2], re.MULTILINE)[1:])
