"""An agent with tools only, which learns from errors: it succeeds after at most two further calls."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from mcp import Client

from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted, interrupt
from tests.in_process import in_process
from tests.provider import Fault, Provider, verdict
from tests.scripted import panel
from tests.server_process import said


class Call(NamedTuple):
    """A tool and its arguments."""

    tool: str
    arguments: dict[str, Any]


ASK = {"prompt": "Capital?", "max_iterations": 1, "wait_seconds": 60}
PANEL = {**ASK, "consortium": "panel"}
RUN, FAILED = "{run}", "{failed}"
"""Placeholders for the ids of a run with an answer, and of one without."""

TASKS: Mapping[str, Call] = {
    "a consult of a saved consortium": Call("consult_consortium", PANEL),
    "models in one text": Call("consult_consortium", {**ASK, "models": "a, b", "arbiter": "arbiter"}),
    "models as JSON in a text": Call("consult_consortium", {**ASK, "models": '["a:2"]', "arbiter": "arbiter"}),
    "null for what is left out": Call("consult_consortium", {**PANEL, "strategy": None, "models": None}),
    "an argument of the client": Call("consult_consortium", {**PANEL, "task_progress": "- [ ] ask"}),
    "a dry run": Call("consult_consortium", {**PANEL, "dry_run": True}),
    "a slip in a consortium's name": Call("consult_consortium", {**ASK, "consortium": "panle"}),
    "a consortium that is not there": Call("consult_consortium", {**ASK, "consortium": "lawyers"}),
    "a damaged consortium": Call("consult_consortium", {**ASK, "consortium": "torn"}),
    "a model that is not there": Call("consult_consortium", {**ASK, "models": ["gpt-99"]}),
    "a slip in a model's name": Call("consult_consortium", {**ASK, "models": ["arbitr"]}),
    "a model without its key": Call("consult_consortium", {**ASK, "models": ["gpt-4o"]}),
    "no model and no default": Call("consult_consortium", ASK),
    "both a consortium and models": Call("consult_consortium", {**PANEL, "models": ["a"]}),
    "a count without models": Call("consult_consortium", {**PANEL, "count": 3}),
    "an arbiter of a vote": Call("consult_consortium", {**PANEL, "judging_method": "vote", "arbiter": "b"}),
    "a strategy of one iteration": Call("consult_consortium", {**PANEL, "strategy": "debate"}),
    "a role that is a count": Call("consult_consortium", {**ASK, "models": ["a as 3"], "arbiter": "arbiter"}),
    "a backup that is missing": Call("consult_consortium", {**ASK, "models": ["a|"], "arbiter": "arbiter"}),
    "a count of nothing": Call("consult_consortium", {**ASK, "models": ["a:0"], "arbiter": "arbiter"}),
    "a threshold in doubt": Call("consult_consortium", {**PANEL, "confidence_threshold": 1.5}),
    "a threshold out of range": Call("consult_consortium", {**PANEL, "confidence_threshold": 200}),
    "a minimum above the maximum": Call("consult_consortium", {**PANEL, "min_iterations": 5}),
    "an unknown argument": Call("consult_consortium", {**PANEL, "judge_method": "pick"}),
    "an unknown strategy": Call("consult_consortium", {**PANEL, "strategy": "refined"}),
    "an unknown judging method": Call("consult_consortium", {**PANEL, "judging_method": "votes"}),
    "choices that are missing": Call("consult_consortium", {**PANEL, "judging_method": "choose"}),
    "too small a budget": Call("consult_consortium", {**PANEL, "max_calls": 1}),
    "a budget in dollars without prices": Call("consult_consortium", {**PANEL, "max_cost_usd": 1}),
    "too long a wait": Call("consult_consortium", {**PANEL, "wait_seconds": 9999}),
    "an empty prompt": Call("consult_consortium", {**PANEL, "prompt": " "}),
    "no prompt": Call("consult_consortium", {"consortium": "panel", "wait_seconds": 60}),
    "the client's model": Call("consult_consortium", {**ASK, "models": ["client"]}),
    "a follow-up": Call("consult_consortium", {**ASK, "follow_up_to": RUN}),
    "a follow-up of a run without an answer": Call("consult_consortium", {**PANEL, "follow_up_to": FAILED}),
    "a run by its beginning": Call("get_run", {"run_id": "{begin}"}),
    "a run by its URI": Call("get_run", {"run_id": "consortium://runs/{run}"}),
    "a run that is not there": Call("get_run", {"run_id": "01nosuchrun"}),
    "a run that failed": Call("get_run", {"run_id": FAILED}),
    "an interrupted run": Call("get_run", {"run_id": "{interrupted}", "wait_seconds": 60}),
    "an unknown detail": Call("get_run", {"run_id": RUN, "detail": "response"}),
    "a rating of a run without an answer": Call("rate_run", {"run_id": FAILED, "verdict": "correct"}),
    "a rating without a verdict": Call("rate_run", {"run_id": RUN}),
    "a rating in other words": Call("rate_run", {"run_id": RUN, "verdict": "right"}),
    "cancelling what has ended": Call("cancel_run", {"run_id": RUN}),
    "a cursor of nothing": Call("list_runs", {"cursor": "next"}),
    "an unknown status": Call("list_runs", {"status": "done"}),
    "a name that is taken": Call("save_consortium", {"name": "panel", "models": ["b"]}),
    "a name of a model": Call("save_consortium", {"name": "a", "models": ["b"]}),
    "removing what is not there": Call("remove_consortium", {"name": "panels"}),
}


class Agent:
    """Corrects a call by the words of its error, with general knowledge: a question, and similar words."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.calls = 0
        self.heard: list[str] = []
        """The result of each call, in order."""

    async def reaches(self, call: Call, further: int = 2) -> bool:
        """Whether the call, corrected, succeeds within this number of further calls."""
        while (text := await self._said(call)) is None:
            if self.calls > further:
                return False
            call = await self._corrected(call, self.heard[-1])
        return bool(text)

    async def _said(self, call: Call) -> str | None:
        """The text of a result, or of a transcript of a run that failed; None for an error."""
        self.calls += 1
        result = await self._client.call_tool(call.tool, call.arguments)
        self.heard.append(said(result))
        return None if result.is_error and not said(result).startswith("# Run ") else said(result)

    async def _corrected(self, call: Call, error: str) -> Call:
        tool, arguments = call.tool, dict(call.arguments)
        wrong = next(iter(re.findall(r"'([^']+)'", error)), "")

        def told(pattern: str) -> re.Match[str] | None:
            return re.search(pattern, error)

        if words := told(r'Call get_run with run_id="(\w+)" and detail="(\w+)"'):
            return Call("get_run", {"run_id": words[1], "detail": words[2]})
        if words := told(r'Call list_runs with status="(\w+)"'):
            run_ids = re.findall(r"^\w{26}", await self._said(Call("list_runs", {"status": words[1]})) or "")
            named = "follow_up_to" if tool == "consult_consortium" else "run_id"
            return Call(tool, {**arguments, named: run_ids[0]})
        if told(r"Call save_consortium with overwrite=true"):
            await self._said(Call("save_consortium", {"name": wrong, "models": ["a"], "overwrite": True}))
            return call
        if words := told(r"Give (\w+)=true"):
            return Call(tool, {**arguments, words[1]: True})
        if words := told(r"has no argument '\w+'. Did you mean '(\w+)'"):
            return Call(tool, {words[1] if name == wrong else name: value for name, value in arguments.items()})
        if words := told(r"Did you mean '([^']+)'") if "Call list_models" not in error else None:
            return Call(tool, replaced(arguments, wrong, words[1]))
        if words := told(r"(?:There are|Saved|Newest runs): ([^.]+)\."):
            return Call(tool, replaced(arguments, wrong, nearest(wrong, words[1].split(", "))))
        if told(r"Call list_models"):
            listed = await self._said(Call("list_models", {})) or ""
            return Call(tool, {**arguments, "models": [nearest(wrong, re.split(r", ", listed.splitlines()[0])[1:])]})
        if words := told(r"Models to name: ([^,.]+)"):
            return Call(tool, {**arguments, "models": [words[1]]})
        if words := told(r"argument '(\w+)' is '[^']*': Input should be ('.*)\."):
            return Call(tool, {**arguments, words[1]: nearest(arguments[words[1]], re.findall(r"'(\w+)'", words[2]))})
        if words := told(r"argument '(\w+)' is '[^']*': .*?([\d.]+\d|\d)"):
            return Call(tool, {**arguments, words[1]: float(words[2])})
        if words := told(r"the argument '(\w+)' is missing|The (prompt) is empty"):
            return Call(tool, {**arguments, words[1] or words[2]: "Capital?"})
        if words := told(r"Give either a (\w+) or (\w+), not both|leave (\w+) out|The (\w+) '.*, or none"):
            left_out = words[2] or words[3] or words[4]
            return Call(tool, {name: value for name, value in arguments.items() if name != left_out})
        if words := told(r"^(\w+) has no effect .* Leave it out"):
            return Call(tool, {name: value for name, value in arguments.items() if name != words[1]})
        if words := told(r"Give either (\w+) \((\w+)"):
            return Call(tool, {**arguments, words[1]: words[2]})
        if words := told(r"(\w+) is \d+ and \w+ is (\d+)|^(\w+)=\d+ .* are (\d+) calls"):
            return Call(tool, {**arguments, words[1] or words[3]: int(words[2] or words[4])})
        if words := told(r"^(\w+) \(.*Limit (\w+) instead"):
            kept = {name: value for name, value in arguments.items() if name != words[1]}
            return Call(tool, {**kept, words[2]: 50})
        if words := told(r"needs (\w+): name two"):
            return Call(tool, {**arguments, words[1]: ["Paris", "Rome"]})
        if words := told(r"The role in '(\w+) as (\d+)' is a number. Write a count as in '\w+:\d+'"):
            return Call(tool, replaced(arguments, wrong, f"{words[1]}:{words[2]}"))
        if told(r"without a model beside it. .* leave '\|' out"):
            return Call(tool, replaced(arguments, wrong, wrong.strip("|")))
        if words := told(r"The count in '\w+:\d+' .* whole number from (\d+)"):
            return Call(tool, replaced(arguments, wrong, f"{wrong.partition(':')[0]}:{words[1]}"))
        if told(r"choose another name"):
            return Call(tool, {**arguments, "name": f"{wrong}-panel"})
        raise AssertionError(f"These words say no next step: {error}")


def replaced(arguments: Mapping[str, Any], wrong: str, right: str) -> dict[str, Any]:
    """The arguments with the wrong value replaced, alone or in a list."""

    def corrected(value: Any) -> Any:
        return [corrected(one) for one in value] if isinstance(value, list) else right if value == wrong else value

    return {name: corrected(value) for name, value in arguments.items()}


def nearest(wrong: str, there: Sequence[str]) -> str:
    """The available word that is most similar to the wrong one; else the first."""
    return next(iter(difflib.get_close_matches(wrong, there, n=1, cutoff=0.3)), there[0])


@pytest.fixture(autouse=True)
def _no_model_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLM_MODEL", "gpt-4o")
    monkeypatch.setenv("CONSORTIUM_LOCAL_MODEL", "/not/there.gguf")


async def prepared(provider: Provider, service: ConsortiumService) -> dict[str, str]:
    """The values of the placeholders in the tasks, after saving the consortiums that they name."""
    provider.on("arbiter", verdict("Paris", confidence=0.9))
    provider.on("e", Fault.wrong_key())
    run, failed = await consulted(service, "a"), await consulted(service, "e")
    cut = await consulted(service, "a", prompt="Another?")
    interrupt(service, cut)
    service.store.consortiums.save.sync("panel", panel("a", "b", arbiter="arbiter"))
    torn = "INSERT INTO consortium_configs (name, config, created_at) VALUES ('torn', '{', '')"
    service.store.database.write(lambda connection: connection.execute(torn) and None)
    return {"run": run.run_id, "failed": failed.run_id, "interrupted": cut.run_id, "begin": run.run_id[:20]}


async def test_an_agent_gets_there_by_the_words_of_each_error_in_at_most_two_further_calls(
    provider: Provider, service: ConsortiumService
) -> None:
    ids = await prepared(provider, service)
    lost = {}
    async with in_process("auto", service) as client:
        for task, (tool, arguments) in TASKS.items():
            agent = Agent(client)
            texts = {name: value for name, value in arguments.items() if isinstance(value, str) and "{" in value}
            filled = {name: value.format(**ids) for name, value in texts.items()}
            if not await agent.reaches(Call(tool, {**arguments, **filled})):
                lost[task] = agent.heard

    assert len(TASKS) >= 40 and lost == {}
