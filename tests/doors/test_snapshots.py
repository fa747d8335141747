"""Every definition that a client sees, as committed JSON: `make generate` writes it anew."""

import difflib
import json
import os
import re
import tempfile
from pathlib import Path

import anyio
import pytest
from mcp import Client

from consortium_mcp.records import terms
from consortium_mcp.records.consortium import define
from consortium_mcp.server import build_server
from consortium_mcp.server.base import toolset
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import load_settings
from tests.in_process import as_sent, in_process
from tests.paths import TESTS
from tests.provider import Provider
from tests.signatures import terms_module

pytestmark = pytest.mark.anyio

SNAPSHOTS = TESTS / "snapshots"
TOOLS = Path(toolset.__file__).parents[1] / toolset.TOOLS_FILE
TERMS = Path(terms.__file__)
ALLOWED = "snapshot-*"
"""The only models that the snapshots name, whatever else llm offers on this machine."""


async def definitions(home: Path) -> dict[str, str]:
    """Every definition as JSON, by the path of its snapshot.

    Args:
        home: llm's user folder, which `LLM_USER_PATH` names.
    """
    with Provider() as provider:
        provider.write_llm_config(home, ["snapshot-model"])
        with ConsortiumService(load_settings(None, allowed_models=ALLOWED)) as service:
            service.store.consortiums.save.sync("saved-panel", define(members=[{"model": "snapshot-model"}]))
            async with in_process("auto", service) as client:
                return {path: _as_json(value) for path, value in (await _listed(client)).items()}


async def tools_file() -> str:
    """The required content of the file from which tools/list is answered."""
    with ConsortiumService(load_settings()) as service:
        return json.dumps(await build_server(Runner(service)).describe_tools(), indent=1, ensure_ascii=False) + "\n"


async def _listed(client: Client) -> dict[str, dict[str, object]]:
    assert client.server_info is not None
    about = as_sent(client.server_info) | {"version": "of this release"}
    server = {"about": about, "instructions": client.instructions, **as_sent(client.server_capabilities)}
    found: dict[str, dict[str, object]] = {"server.json": server}
    found |= {f"tools/{one.name}.json": as_sent(one) for one in (await client.list_tools()).tools}
    found |= {f"prompts/{one.name}.json": as_sent(one) for one in (await client.list_prompts()).prompts}
    found |= {f"resources/{one.name}.json": as_sent(one) for one in (await client.list_resources()).resources}
    templates = (await client.list_resource_templates()).resource_templates
    return found | {f"templates/{one.name}.json": as_sent(one) for one in templates}


def _as_json(value: object) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    return re.sub(r'("lastModified": )"[^"]*"', r'\1"when it was saved"', text)


def _committed() -> dict[str, str]:
    return {str(path.relative_to(SNAPSHOTS)): path.read_text() for path in sorted(SNAPSHOTS.rglob("*.json"))}


def _difference(before: dict[str, str], now: dict[str, str]) -> str:
    lines: list[str] = []
    for path in sorted(before | now):
        old, new = before.get(path, "").splitlines(), now.get(path, "").splitlines()
        lines += difflib.unified_diff(old, new, f"snapshots/{path}", "now", lineterm="")
    return "\n".join(lines)


async def test_the_file_that_tools_list_is_answered_from_says_what_the_tools_are(llm_home: Path) -> None:
    assert TOOLS.read_text() == await tools_file(), "If this is meant: make generate"


def test_the_python_api_takes_what_a_request_holds() -> None:
    assert TERMS.read_text() == terms_module(), "If this is meant: make generate"


async def test_what_clients_see_is_what_was_committed(llm_home: Path) -> None:
    difference = _difference(_committed(), await definitions(llm_home))

    assert not difference, f"If this is meant: make generate\n{difference}"


def test_a_difference_names_the_definition_and_shows_its_lines() -> None:
    difference = _difference({"tools/a.json": '{\n "x": 1\n}'}, {"tools/a.json": '{\n "x": 2\n}'})

    assert "snapshots/tools/a.json" in difference and '- "x": 1' in difference and '+ "x": 2' in difference


if __name__ == "__main__":
    os.environ["LLM_USER_PATH"] = tempfile.mkdtemp()
    TERMS.write_text(terms_module())
    TOOLS.write_text(anyio.run(tools_file))
    for stale in SNAPSHOTS.rglob("*.json"):
        stale.unlink()
    for name, text in anyio.run(definitions, Path(os.environ["LLM_USER_PATH"])).items():
        (SNAPSHOTS / name).parent.mkdir(parents=True, exist_ok=True)
        (SNAPSHOTS / name).write_text(text)
