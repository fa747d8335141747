"""Real llm plugins against replies in their providers' forms, on loopback; writes the table of docs/plugins.md.

`make test-plugins` installs the plugins and runs this. Every provider is a server of its own on this machine.
"""

import asyncio
import importlib
import json
import os
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import click
from click.testing import CliRunner

from consortium_mcp.models.calling import ConcurrencyLimits, make_call
from consortium_mcp.models.catalogue import ModelEntry, load_catalogue
from consortium_mcp.models.openai_clients import KeptClients
from consortium_mcp.records import CallId, CallResult, CallSpec, MemberResponse, Run
from consortium_mcp.records.consortium import define
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import load_settings
from tests.clients import plugin_replies as replies
from tests.clients.plugin_endpoint import LOST, Answer, Endpoint, api_base_at, hosts_at, serving
from tests.consulted import performed
from tests.paths import ROOT
from tests.provider import verdict
from tests.replies import AT_ONCE, GOOD, RawEndpoint, write_config
from tests.scripted import asking

PAGE = ROOT / "docs" / "plugins.md"

TEXTS = ("The capital is ", "Paris.\n\n", "Answer: Paris")
"""A complete reply, in pieces."""


@dataclass(frozen=True)
class Plugin:
    """One plugin, and its redirection to this machine."""

    name: str
    """On PyPI."""

    model: str
    """The model that is asked."""

    shapes: replies.Shapes
    """The replies of its provider."""

    address: str
    """How its address was changed, for the table."""

    variable: str | None = None
    """The environment variable with an address; None if there is none."""

    host: str | None = None
    """The host that its own HTTP client calls; None if the address is changed in another way."""

    classes: tuple[str, ...] = ()
    """Its model classes of OpenAI's kind, whose `api_base` is changed."""

    api_path: str = ""
    """The path after the host in its address."""


_API_BASE = "`api_base` of its models"
_PATCHED = "its HTTP client's transport"

PLUGINS = (
    Plugin(
        "llm-anthropic",
        "anthropic/claude-sonnet-4-5",
        replies.ANTHROPIC,
        "`ANTHROPIC_BASE_URL`",
        variable="ANTHROPIC_BASE_URL",
    ),
    Plugin(
        "llm-gemini",
        "gemini/gemini-2.5-flash",
        replies.GEMINI,
        _PATCHED,
        host="generativelanguage.googleapis.com",
    ),
    Plugin("llm-mistral", "mistral/mistral-small-latest", replies.MISTRAL, _PATCHED, host="api.mistral.ai"),
    Plugin("llm-ollama", "ollama/llama-recorded:1b", replies.OLLAMA, "`OLLAMA_HOST`", variable="OLLAMA_HOST"),
    Plugin(
        "llm-openrouter",
        "openrouter/recorded/router",
        replies.OPENROUTER,
        _API_BASE,
        classes=("OpenRouterResponses", "OpenRouterAsyncResponses"),
        api_path="/api/v1",
    ),
    Plugin("llm-groq", "groq/llama-recorded", replies.GROQ, "`GROQ_BASE_URL`", variable="GROQ_BASE_URL"),
    Plugin(
        "llm-deepseek",
        "deepseek-chat",
        replies.DEEPSEEK,
        _API_BASE,
        classes=("DeepSeekChat", "DeepSeekAsyncChat"),
    ),
)

LISTS = {
    "openrouter_models.json": {"data": [{"id": "recorded/router", "supported_parameters": ["structured_outputs"]}]},
    "groq_models.json": {"models": [{"id": "llama-recorded"}]},
    "mistral_models.json": {"data": [{"id": "mistral-small-latest"}]},
}
"""The plugins' cached lists of models, in llm's folder."""

KEYS = {name: "sk-recorded" for name in ("anthropic", "gemini", "mistral", "openrouter", "groq", "deepseek")}


FAULTS = {
    "rate limit": "`429`, `Retry-After: 1`",
    "broken off": "the stream ends after half of the text",
    "lost": "the connection is lost after half of the text",
    "wrong key": "the provider's error for a wrong key",
    "tool": "a tool is called, and nothing is said",
}
"""The faults of each provider, with their names in the table."""

EXPECTED = {
    "rate limit": "rate_limit",
    "broken off": "broken_off",
    "lost": "network",
    "wrong key": "auth",
    "tool": "invalid_reply",
}
"""The kind of each fault."""

UNLIKE = {("llm-groq", "broken off"): None, ("llm-groq", "tool"): "empty"}
"""Kinds that differ because a plugin hides the cause; None is a reply that counts as complete."""

HIDING_TOOLS = ("llm-groq",)
"""Plugins that do not report their models' tool calls."""

SCHEMA_NAMES = ("output_config", "response_format", "format", "text", "generationConfig")
"""The places of a schema in requests."""


@dataclass
class Seen:
    """The results for one plugin."""

    entry: ModelEntry
    """The model that was asked."""

    whole: CallResult
    """The result of a complete reply."""

    streams: bool
    """Whether a piece was read before the next one was sent."""

    connections: int
    """The number of connections of three consecutive calls."""

    schema: bool = False
    """Whether the request for a verdict carried a schema."""

    reads_tool: bool = False
    """Whether a verdict in a tool's arguments is read."""

    failures: dict[str, tuple[MemberResponse, int]] = field(default_factory=dict)
    """By the name of a fault: the response in a run, and the number of requests."""


@contextmanager
def _installed(endpoints: dict[str, Endpoint], member: RawEndpoint) -> Iterator[None]:
    """llm with keys, lists and addresses of the plugins, and a member and an arbiter of our own."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("CONSORTIUM_")}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(mock.patch.dict(os.environ, known, clear=True))
        os.environ |= {"LLM_USER_PATH": str(folder), "NO_PROXY": "127.0.0.1"}
        (folder / "keys.json").write_text(json.dumps(KEYS))
        for name, content in LISTS.items():
            (folder / name).write_text(json.dumps(content))
        *urls, ours = stack.enter_context(serving(*(one.serve for one in endpoints.values()), member.serve))
        write_config(f"{ours}/v1", list(GOOD))
        hosts = {}
        for plugin, url in zip(PLUGINS, urls, strict=True):
            if plugin.variable:
                os.environ[plugin.variable] = url
            if plugin.host:
                hosts[plugin.host] = url
            if plugin.classes:
                module = importlib.import_module(plugin.name.replace("-", "_"))
                classes = [getattr(module, one) for one in plugin.classes]
                stack.enter_context(api_base_at(url + plugin.api_path, *classes))
        stack.enter_context(hosts_at(hosts))
        yield


def _faults(shapes: replies.Shapes) -> dict[str, tuple[Answer, object]]:
    """The answer of a provider for each fault: the pieces or status, and the body of an error."""
    begun = shapes.text(TEXTS)[:2]
    return {
        "rate limit": (429, shapes.rate_limit),
        "broken off": (begun, None),
        "lost": ([*begun, LOST], None),
        "wrong key": (shapes.auth_status, shapes.auth),
        "tool": (shapes.tool("{}"), None),
    }


async def _call(entry: ModelEntry, heard: threading.Event) -> CallResult:
    spec = CallSpec(call_id=CallId("i1/m1"), iteration=1, label="a#1", model=entry.model_id, prompt="Capital?")
    limits = ConcurrencyLimits(8)
    return await make_call(entry, spec, limits, 20, lambda response: None, hear=lambda chunk: heard.set())


async def _whole(entry: ModelEntry, endpoint: Endpoint) -> tuple[CallResult, bool]:
    """The result of a complete reply, and whether its first piece was read before the next one was sent."""
    endpoint.answer, heard = endpoint.shapes.text(TEXTS), threading.Event()
    endpoint.connections = 0
    results, clients = [], KeptClients()
    clients.use_in(entry)
    waited = _Waited(heard)
    endpoint.heard = waited
    for _ in range(3):
        results.append(await _call(entry, heard))
        endpoint.heard = None
    await clients.aclose()
    return results[-1], waited.was_set


class _Waited(threading.Event):
    """An event that remembers whether it was set in time."""

    def __init__(self, heard: threading.Event) -> None:
        super().__init__()
        self._heard = heard
        self.was_set = False

    def wait(self, timeout: float | None = None) -> bool:
        """Whether it was set in time."""
        self.was_set = self._heard.wait(timeout)
        return self.was_set


async def _try_all(endpoints: dict[str, Endpoint]) -> dict[str, Seen]:
    """Three whole calls of each plugin, then each as the arbiter, then one run for each fault."""
    catalogue = await asyncio.to_thread(load_catalogue)
    assert list(catalogue.broken_plugins) == ["gguf"], catalogue.broken_plugins
    seen = {}
    for plugin in PLUGINS:
        entry, endpoint = catalogue.usable(plugin.model), endpoints[plugin.name]
        whole, streams = await _whole(entry, endpoint)
        seen[plugin.name] = Seen(entry, whole, streams, endpoint.connections)
    with ConsortiumService(load_settings(None), timing=AT_ONCE) as service:
        for plugin in PLUGINS:
            seen[plugin.name].schema = await _asks_with_schema(service, plugin, endpoints[plugin.name])
            seen[plugin.name].reads_tool = await _reads_tool(service, plugin, endpoints[plugin.name])
        for fault in FAULTS:
            await _try_fault(service, fault, endpoints, seen)
    return seen


async def _asks_with_schema(service: ConsortiumService, plugin: Plugin, endpoint: Endpoint) -> bool:
    """Whether its model is asked for a verdict with a schema; the run must end with that verdict."""
    endpoint.answer = endpoint.shapes.text([verdict("It is 42.")])
    endpoint.asked.clear()
    run = await _consulted(service, ["whole"], plugin.model)
    assert run.answer == "It is 42.", (plugin.name, run.degraded)
    return any("synthesis" in json.dumps(endpoint.asked[0].get(name, "")) for name in SCHEMA_NAMES)


async def _reads_tool(service: ConsortiumService, plugin: Plugin, endpoint: Endpoint) -> bool:
    """Whether its model's verdict is read from a tool's arguments; the run must have an answer in any case."""
    endpoint.answer = endpoint.shapes.tool(verdict("It is 42."))
    run = await _consulted(service, ["whole"], plugin.model)
    is_read = run.answer == "It is 42."
    assert is_read is (plugin.name not in HIDING_TOOLS) and run.answer, (plugin.name, run.degraded)
    return is_read


async def _try_fault(
    service: ConsortiumService, fault: str, endpoints: dict[str, Endpoint], seen: dict[str, Seen]
) -> None:
    """One run in which every provider has the fault, beside a member of ours, which must suffice for an answer."""
    for endpoint in endpoints.values():
        endpoint.answer, endpoint.body = _faults(endpoint.shapes)[fault]
        endpoint.asked.clear()
    run = await _consulted(service, [*(one.model for one in PLUGINS), "whole"], "arbiter")
    assert run.answer == "It is 42.", (fault, run.degraded)
    for plugin, response in zip(PLUGINS, run.iterations[0].responses, strict=False):
        expected = UNLIKE.get((plugin.name, fault), EXPECTED[fault])
        assert response.error_kind == expected, (plugin.name, fault, response)
        assert not _PYTHON.search(response.error or ""), (plugin.name, fault, response.error)
        asked = endpoints[plugin.name].asked
        assert not any(body.get("tools") for body in asked), (plugin.name, "a tool was offered")
        seen[plugin.name].failures[fault] = response, len(asked)


_PYTHON = re.compile(r"NoneType|object (is|has)|Traceback|Error\(|\{|<class")
"""Words that no sentence for a user may contain."""


async def _consulted(service: ConsortiumService, models: list[str], arbiter: str) -> Run:
    request = asking("Capital?", models=models, arbiter=arbiter, max_iterations=1)
    opened = await asyncio.to_thread(service.opener.open_run, request)
    return await performed(service, opened.run_id)


def _with_a_tool() -> str:
    """The message of llm's command when a tool is requested from a saved consortium with plugins as members."""
    consortium = define(members=[{"model": "whole"}, {"model": PLUGINS[0].model}], arbiter="arbiter", max_iterations=1)
    with ConsortiumService(load_settings(None)) as service:
        service.store.consortiums.save.sync("panel", consortium)
    cli: click.Command = importlib.import_module("llm.cli").cli
    result = CliRunner().invoke(cli, ["-m", "panel", "-T", "llm_version", "--no-stream", "Capital?"])
    return result.output.strip().splitlines()[-1]


def table(seen: dict[str, Seen]) -> str:
    """Both tables of the page."""
    rows = [
        "| plugin | address changed by | model | streams | connections for 3 calls | tokens | finish reason | schema | "
        "verdict as a tool call |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for plugin in PLUGINS:
        one = seen[plugin.name]
        tokens = f"{one.whole.input_tokens} in, {one.whole.output_tokens} out" if one.whole.input_tokens else "none"
        cells = [
            f"{plugin.name} {version(plugin.name)}",
            plugin.address,
            "asynchronous" if one.entry.async_model is not None else "synchronous",
            "yes" if one.streams else "no",
            str(one.connections),
            tokens,
            f"`{one.whole.finish_reason}`" if one.whole.finish_reason else "none",
            "sent" if one.schema else "in words",
            "read" if one.reads_tool else "not shown by the plugin",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    rows += ["", "| plugin | fault | kind | requests | what the run says |", "|---|---|---|---|---|"]
    for plugin in PLUGINS:
        for fault, named in FAULTS.items():
            response, requests = seen[plugin.name].failures[fault]
            kind = f"`{response.error_kind}`" if response.error_kind else "none: counts as whole"
            rows.append(f"| {plugin.name} | {named} | {kind} | {requests} | {response.error or ''} |")
    return "\n".join(rows)


def main() -> None:
    """Try every plugin, and write the tables; an assertion fails if a consult breaks or a kind differs."""
    endpoints = {one.name: Endpoint(one.shapes) for one in PLUGINS}
    with _installed(endpoints, RawEndpoint(GOOD)):
        seen = asyncio.run(_try_all(endpoints))
        for endpoint in endpoints.values():
            endpoint.answer = endpoint.shapes.text(TEXTS)
        said = _with_a_tool()
    assert said == "Error: Consortium: panel does not support tools", said
    written = table(seen)
    begin, end = "<!-- plugins: generated by tests/clients/plugins.py -->\n", "\n<!-- /plugins -->"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
    PAGE.write_text(f"{before}{begin}{written}{end}{rest.partition(end)[2]}", encoding="utf-8")
    sys.stdout.write(f"{written}\n\nllm -m panel -T llm_version: {said}\n")


if __name__ == "__main__":
    main()
