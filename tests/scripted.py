"""Common parts of tests of the pure parts: a new run, and calls with scripted results."""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import anyio

from consortium_mcp.engine.judging import shown_order, synthesize
from consortium_mcp.engine.judging.asking import ask_arbiter
from consortium_mcp.engine.judging.origin import Origin, unquoted
from consortium_mcp.engine.loop import iterations
from consortium_mcp.records import Budget, CallResult, CallSpec, Iteration, MemberResponse, Run, Verdict
from consortium_mcp.records.consortium import Consortium, define
from consortium_mcp.records.request import ConsultRequest, read_request

MARK = "f00dfacecafe"
"""The fence mark of every run that these tests begin."""

Reply = CallResult | str
Script = Callable[[CallSpec], Reply]


def new_run(prompt: str = "Why is the sky blue?", **fields: object) -> Run:
    """A run as it is opened, of the members `a` and `b` with the arbiter `judge`; fields of Run win."""
    defaults: dict[str, object] = {
        "run_id": "01run",
        "status": "running",
        "prompt": prompt,
        "consortium": panel(),
        "shuffle_seed": 7,
        "fence_token": MARK,
        "created_utc": "2026-11-23T00:00:00.000+00:00",
        "deadline_utc": "2026-11-23T00:10:00.000+00:00",
    }
    return Run.model_validate(defaults | fields)


def asking(prompt: str, budget: Budget | None = None, **fields: Any) -> ConsultRequest:
    """A request, with the limits of a budget."""
    limits = budget.model_dump() if budget else {}
    return read_request(ConsultRequest, {"prompt": prompt, **limits, **fields})


def panel(*models: str, **rules: object) -> Consortium:
    """A consortium of models with one instance each, by default `a` and `b`, judged by `judge`."""
    members = [{"model": model} for model in models or ("a", "b")]
    return define(**{"members": members, "arbiter": "judge", **rules})


def response(place: int, text: str | None = "an answer", **fields: object) -> MemberResponse:
    """The response of the instance at a place (from 1); without text, a failure."""
    failure = {} if text else {"error_kind": "timeout", "error": "No full reply within 5 seconds."}
    names = {"response_id": f"i1/m{place}", "label": f"model{place}#1", "model": f"model{place}"}
    return MemberResponse.model_validate({"text": text, **failure, **names, **fields})


def failed(kind: str = "server", error: str = "It is down.") -> CallResult:
    """The result of a failed call."""
    return CallResult.model_validate({"error_kind": kind, "error": error})


def verdict_text(synthesis: str = "the synthesis", confidence: object = 0.9, **fields: object) -> str:
    """An arbiter's reply as JSON."""
    return json.dumps({"synthesis": synthesis, "confidence": confidence, **fields}, ensure_ascii=False)


class ScriptedCalls:
    """Answers calls by their id, or by a function, and keeps every question in the order in which it came."""

    def __init__(self, script: Script | None = None, /, **replies: Reply) -> None:
        """Keywords are the end of a call id with `_` for `/`: `arbiter="…"` answers every arbiter call."""
        self.asked: list[CallSpec] = []
        self._script = script
        self._replies = {name.replace("_", "/"): reply for name, reply in replies.items()}

    async def __call__(self, spec: CallSpec) -> CallResult:
        await anyio.lowlevel.checkpoint()
        self.asked.append(spec)
        reply = self._script(spec) if self._script else self._reply(spec)
        return reply if isinstance(reply, CallResult) else CallResult(text=reply or None)

    @property
    def ids(self) -> list[str]:
        """The labels of the asked instances, in order."""
        return [spec.call_id for spec in self.asked]

    def question(self, call_id: str) -> CallSpec:
        """The one call with this id."""
        (found,) = (spec for spec in self.asked if spec.call_id == call_id)
        return found

    def _reply(self, spec: CallSpec) -> Reply:
        for name in (spec.call_id, spec.call_id.partition("/")[2]):
            if name in self._replies:
                return self._replies[name]
        return verdict_text() if "arbiter" in spec.call_id else f"answer of {spec.label} in {spec.iteration}"


def verdicts(*replies: Reply) -> Script:
    """A script in which the arbiter gives these replies, one for each iteration, and members their own."""

    def script(spec: CallSpec) -> Reply:
        if spec.call_id.endswith("/arbiter"):
            return replies[spec.iteration - 1]
        return "" if "repair" in spec.call_id else f"answer of {spec.label} in {spec.iteration}"

    return script


async def states(run: Run, call: ScriptedCalls, reads_schema: bool = True) -> list[Run]:
    """The run after each of its iterations."""
    every: AsyncIterator[Run] = iterations(run, call, lambda model: reads_schema)
    return [state async for state in every]


async def last_state(run: Run, call: ScriptedCalls, reads_schema: bool = True) -> Run:
    """The run after its last iteration."""
    return (await states(run, call, reads_schema))[-1]


async def judged_iteration(
    run: Run, responses: Sequence[MemberResponse], call: ScriptedCalls, reads_schema: bool = True
) -> Iteration:
    """The next iteration of a run, with what the arbiter makes of these responses."""
    number = len(run.iterations) + 1
    order = shown_order(run.shuffle_seed, number, responses)
    asked = Iteration(number=number, responses=tuple(responses), shown_order=order)
    return await ask_arbiter(run, asked, call, lambda model: reads_schema, synthesize.FORM)


def read_verdict(reply: str, responses: Sequence[MemberResponse] = ()) -> Verdict | None:
    """The verdict in a reply to the question for a synthesis of these responses."""
    origin = Origin(said=tuple(unquoted(one.text or "") for one in responses))
    return synthesize.read_verdict(reply, Iteration(number=1, responses=tuple(responses)), origin)
