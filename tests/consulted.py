"""Common parts of tests of faults, time and money: a run that is worked on in this process, and its journal."""

import re
import sqlite3
from collections.abc import Callable
from typing import Any

import anyio.to_thread

from consortium_mcp._util.timing import Timing
from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.records import Run
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.text.member_system import own_system_prompt
from tests.provider import Answer, Request, verdict
from tests.scripted import asking

Play = Answer | Callable[[Request], Answer]
"""One answer for every request, or a function of the request."""

_CONVERSATION = re.compile(
    r"^--- conversation before the prompt (?P<mark>\w+) ---\n(?P<turns>.*?)\n--- end of .* (?P=mark) ---$", re.M | re.S
)


async def consulted(service: ConsortiumService, *models: str, prompt: str = "Why?", **arguments: Any) -> Run:
    """The ended run of a consult, with or without an answer; by default `arbiter` judges if one is needed."""
    asked = asking(prompt, models=list(models) or None, **arguments)
    if asked.arbiter is None:
        asked = asked.model_copy(update=arbiter_for(asked.preset_rules.get("judging_method", asked.judging_method)))
    opened = await anyio.to_thread.run_sync(lambda: service.opener.open_run(asked))
    return await performed(service, opened.run_id)


def arbiter_for(method: str, name: str = "arbiter") -> dict[str, str]:
    """The argument that names an arbiter; empty if the judging method asks none."""
    return {"arbiter": name} if judging_methods().find(method).needs_arbiter else {}


async def performed(service: ConsortiumService, run_id: str) -> Run:
    """The run when it has ended, as it is stored."""
    try:
        await service.perform(run_id)
    finally:
        await service.clients.aclose()
    return service.store.runs.load.sync(run_id)


def attempts(service: ConsortiumService, run: Run, call_id: str) -> list[sqlite3.Row]:
    """The attempts of a call as the journal has them."""
    sql = "SELECT * FROM attempts WHERE run_id = ? AND call_id = ? ORDER BY attempt"
    return service.store.database.read(sql, [run.run_id, call_id])


def kinds(service: ConsortiumService, run: Run, call_id: str) -> list[str | None]:
    """The error kind of each attempt of a call; None for a successful one."""
    return [row["error_kind"] for row in attempts(service, run, call_id)]


def stored_kind(service: ConsortiumService, run: Run, call_id: str) -> str | None:
    """The error kind in a call's row."""
    sql = "SELECT error_kind FROM calls WHERE run_id = ? AND call_id = ?"
    (row,) = service.store.database.read(sql, [run.run_id, call_id])
    kind: str | None = row["error_kind"]
    return kind


def interrupt(service: ConsortiumService, run: Run) -> None:
    """Make an ended run look like one of a killed process: open, with an expired lease."""
    sql = "UPDATE runs SET status = 'running', owner = 'killed', lease_until = 0, ended_utc = NULL WHERE run_id = ?"
    service.store.database.write(lambda connection: connection.execute(sql, [run.run_id]) and None)


WITHOUT_WAITS = Timing(first_retry=0.0, retry_jitter=0.0)
"""Further attempts follow at once, unless the provider names a wait."""


def is_judging(request: Request) -> bool:
    """Whether a model is asked to judge, and not to answer."""
    return "--- prompt " in request.prompt


def own_system(request: Request) -> str | None:
    """A member's system text without our own sentences."""
    return own_system_prompt(request.system)


def said_before(request: Request) -> list[str]:
    """The turns before the prompt: in messages, or fenced in the question to an arbiter."""
    if fenced := _CONVERSATION.search(request.prompt):
        return [turn.partition(": ")[2] for turn in fenced["turns"].split("\n\n")]
    return [message["content"] for message in request.messages if message["role"] != "system"][:-1]


def member(answer: Play, judging: Play | None = None) -> Callable[[Request], Answer]:
    """A script that answers as a member with `answer`, and as a judge with `judging`."""
    verdict_of = verdict("judged by a member") if judging is None else judging

    def play(request: Request) -> Answer:
        chosen = verdict_of if is_judging(request) else answer
        return chosen(request) if callable(chosen) else chosen

    return play
