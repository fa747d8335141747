"""Every text that is sent to a model, on one page of the docs; `python -m tests.doors.test_texts_sent`."""

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import PropertyMock, patch

import anyio
import pytest

from consortium_mcp.models.catalogue import ModelEntry
from consortium_mcp.records import Turn
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import load_settings
from tests.consulted import arbiter_for, consulted, is_judging, member
from tests.paths import ROOT
from tests.provider import Provider, Request

pytestmark = pytest.mark.anyio

PAGE = ROOT / "docs" / "texts.md"

FORMS = ("schema", "tags")
METHODS = ("synthesize", "pick", "rank", "peer_rank", "vote")
PAIRS = [("refine", method) for method in METHODS] + [("debate", method) for method in METHODS]
PAIRS += [("eliminate", "rank"), ("eliminate", "peer_rank"), ("refine", "choose"), ("refine", "review")]

RESPONSE = "A response.\nAnswer: 4\nConfidence: 70%"
PROSE = (
    "The sum of both, since neither of the two is left out where the one is added to the other, as the text says it."
)
"""A response that no rule can compare with the other one."""

VERDICT = {
    "synthesis": "An answer.",
    "best": 1,
    "confidence": 0.5,
    "dissent": "What a response holds against it.",
    "refinement_areas": ["An open point."],
}

GROUPED = {"judging_method": "vote", "group_answers": True}

INTRODUCTION = """# Texts for models

Every text that models get, as it goes over the wire. `python -m tests.doors.test_texts_sent` writes this page. Its runs
are real, with scripted models.

A text has the system prompt and the prompt, and names the schema of the reply. Equal texts stand here once.
`FENCE` is the run's fence token, and `MARK` is the mark of one verdict. Both are random. The user's prompt is `Why?`.
"""


@dataclass
class Texts:
    """The texts and schemas that were seen, each once with its number, and the table of where they were sent."""

    seen: dict[str, int] = field(default_factory=dict)
    schemas: dict[str, int] = field(default_factory=dict)
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def link(self, requests: list[Request], mark: str) -> str:
        """Links to the texts of some requests; new texts get the next numbers."""
        texts = sorted({self.text_of(request, mark) for request in requests})
        numbers = [self.seen.setdefault(text, len(self.seen) + 1) for text in texts]
        return ", ".join(f"[{number}](#text-{number})" for number in numbers) or "none"

    def text_of(self, request: Request, mark: str) -> str:
        """All that a request says, with the random words named, and the number of its schema."""
        parts = {"system prompt": request.system, "prompt": request.prompt}
        if request.response_format:
            schema = without_random(json.dumps(request.response_format["json_schema"]["schema"], indent=2), mark)
            parts["schema"] = f"Schema {self.schemas.setdefault(schema, len(self.schemas) + 1)}, below"
        return without_random("\n\n".join(f"[{name}]\n{part}" for name, part in parts.items() if part), mark)


def without_random(text: str, mark: str) -> str:
    """A text with the random words of its run named."""
    return re.sub(r"\b[0-9a-f]{12}\b", "MARK", text.replace(mark, "FENCE"))


def script(provider: Provider, home: Path) -> None:
    """Members and arbiters with constant replies; the name of each says whether it supports schemas."""
    names = [f"{form}-{who}" for form in FORMS for who in ("a", "b", "c", "arbiter", "silent", "prose")]
    provider.write_llm_config(home, names, schema=[name for name in names if name.startswith("schema")])
    for name in names:
        provider.on(name, member(PROSE if "prose" in name else RESPONSE, "It is 4." if "silent" in name else judged))


def judged(request: Request) -> str:
    """A verdict in every form on as many responses as are shown."""
    follows_schema = '"sum"' in json.dumps(request.response_format)
    main = {"synthesis": {"sum": 4}} if follows_schema else {}
    return json.dumps(VERDICT | main | {"ranking": list(range(1, 1 + request.prompt.count("--- end of response")))})


async def page(provider: Provider, service: ConsortiumService) -> str:
    """The page of docs, made of real runs."""
    texts = Texts()
    for strategy, method in PAIRS:
        for form in FORMS:
            await add(texts, provider, service, form, strategy=strategy, judging_method=method)
    full = list(texts.rows)
    texts.rows.clear()
    more: dict[str, dict[str, Any]] = {
        "system prompt, role, conversation": {
            "models": ["schema-a as skeptic", "schema-b"],
            "system_prompt": "Answer in verse.",
            "history": [Turn(role="user", text="A question."), Turn(role="assistant", text="An answer.")],
        },
        "answer by a schema": {"output_schema": {"type": "object", "properties": {"sum": {"type": "integer"}}}},
        "verdict that cannot be read": {"arbiter": "schema-silent"},
        "the same, asked for tags": {"arbiter": "tags-silent"},
        "answers to be grouped": {"models": ["schema-a", "schema-prose"], **GROUPED},
        "answers to be grouped, asked for tags": {
            "models": ["schema-a", "schema-prose"],
            "arbiter": "tags-arbiter",
            **GROUPED,
        },
    }
    for name, arguments in more.items():
        await add(texts, provider, service, "schema", name, **arguments)
    special = list(texts.rows)
    texts.rows.clear()
    with short_texts():
        for strategy, method in PAIRS:
            for form in FORMS:
                await add(texts, provider, service, form, strategy=strategy, judging_method=method)
    parts = [INTRODUCTION, "## Where each is sent\n", table(full), "## In special cases\n", table(special)]
    parts += ["## To the embedded model\n", table(texts.rows)]
    parts += [f"## Text {number}\n\n```text\n{text}\n```\n" for text, number in texts.seen.items()]
    parts += [f"## Schema {number}\n\n```json\n{text}\n```\n" for text, number in texts.schemas.items()]
    return "\n".join(parts)


async def add(
    texts: Texts, provider: Provider, service: ConsortiumService, form: str, name: str = "", **arguments: Any
) -> None:
    """Make a run of two iterations, and note which texts were sent in it."""
    before = provider.count()
    given = {"models": [f"{form}-{who}" for who in "abc"], **arguments}
    if "arbiter" not in arguments:
        given |= arbiter_for(arguments.get("judging_method", "synthesize"), f"{form}-arbiter")
    rules: dict[str, Any] = {"min_iterations": 2, "max_iterations": 2}
    if arguments.get("judging_method") == "choose":
        rules["choices"] = ["4", "5"]
    with patch("consortium_mcp.service.opening.secrets.randbits", return_value=7):  # the same order in each run
        run = await consulted(service, *given.pop("models"), **given, **rules)
    sent = provider.requests[before:]
    split = next((place for place, one in enumerate(sent) if is_later(one)), len(sent))
    halves = (sent[:split], sent[split:])
    where = (name,) if name else (arguments["strategy"], arguments["judging_method"], form)
    asked = [[one for one in half if not is_judging(one)] for half in halves]
    judged = [[one for one in half if is_judging(one)] for half in halves]
    texts.rows.append((*where, *(texts.link(some, run.fence_token) for some in (*asked, *judged))))


def is_later(request: Request) -> bool:
    """Whether a request can only belong to a later iteration."""
    return "may have seen" in request.prompt or "asked before" in request.prompt


def table(rows: list[tuple[str, ...]]) -> str:
    """Where the texts were sent."""
    where = ("strategy", "judging method", "verdict as") if len(rows[0]) > 5 else ("case",)
    head = (*where, "members", "members later", "judges", "judges later")
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


@contextmanager
def short_texts() -> Iterator[None]:
    """Lets every model be one that needs the short texts, as only the embedded one does."""
    with patch.object(ModelEntry, "needs_short_texts", new_callable=PropertyMock, return_value=True):
        yield


async def test_the_page_of_texts_is_what_models_get(
    provider: Provider, service: ConsortiumService, llm_home: Path
) -> None:
    script(provider, llm_home)

    assert await page(provider, service) == PAGE.read_text(), "python -m tests.doors.test_texts_sent"


async def _write(home: Path) -> None:
    with Provider() as provider:
        script(provider, home)
        service = ConsortiumService(load_settings(None))
        PAGE.write_text(await page(provider, service))
        service.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for variable in [name for name in os.environ if name.startswith("CONSORTIUM_") or name.endswith("_API_KEY")]:
            del os.environ[variable]
        os.environ |= {"LLM_USER_PATH": folder, "NO_PROXY": "127.0.0.1,localhost"}
        anyio.run(_write, Path(folder))
    sys.stdout.write(f"{PAGE}\n")
