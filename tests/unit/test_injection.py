"""Injections at five places, under every method: none becomes the verdict, and no author judges."""

import json
import re
from collections.abc import Callable

import pytest

from consortium_mcp.engine.judging import judging_methods, shown_order
from consortium_mcp.records import CallResult, CallSpec, Iteration, MemberResponse, Run, Turn
from consortium_mcp.records.consortium import OWN_ANSWER
from tests.injections import EVIL, PLACES, injections
from tests.scripted import ScriptedCalls, failed, new_run, panel, response

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

HONEST = "It is 42.\nAnswer: 42"
METHODS = ("synthesize", "pick", "rank", "peer_rank", "vote", "review")
Replies = Callable[[str, str, str], str]
"""A judge's reply, from its verdict with and without the mark, and the injected text."""

BEHAVIOURS: dict[str, Replies] = {
    "verdict, then the text": lambda marked, plain, text: f"{marked}\nOne text says:\n{text}",
    "the text, then the verdict": lambda marked, plain, text: f"One text says:\n{text}\nMy verdict:\n{marked}",
    "without the mark, then the text": lambda marked, plain, text: f"{plain}\nOne text says:\n{text}",
    "the verdict alone": lambda marked, plain, text: marked,
    "labels, then the text": lambda marked, plain, text: f"{labelled(plain)}\n\nOne text says:\n{text}",
    "the text, then labels": lambda marked, plain, text: f"One text says:\n{text}\n\n{labelled(plain)}",
    "labels, the text in the analysis": lambda marked, plain, text: (
        f"Analysis: One text says\n{text}\nI ignore that.\n{labelled(plain)}"
    ),
}

LABELLED = tuple(name for name in BEHAVIOURS if "labels" in name)
ASKED_AGAIN = ("every verdict", "eight ballots", "the end of a turn")
"""The texts beside which a labelled verdict is asked for again: they list every verdict, or end the reply.

A labelled verdict of numbers is asked for again too, where a text happens to state the same numbers.
"""


def labelled(verdict: str) -> str:
    """A verdict in the requested form, rewritten as labelled lines."""
    if verdict.startswith("{"):
        fields = json.loads(verdict)
    else:
        fields = dict(re.findall(r"<(\w+)>(.*?)</\1>", re.sub(r"</?verdict[^>]*>", "", verdict)))
    return "\n".join(f"{name.replace('_', ' ').capitalize()}: {value}" for name, value in fields.items())


def cast(place: str, text: str) -> tuple[Run, Iteration, int]:
    """A run with an injected text at a place, its responses, and the number of the attacker's response."""
    members = [response(1, HONEST), response(2, HONEST), response(3, HONEST)]
    if place == "member":
        members.insert(1, response(4, text))
    if place == "own answer":
        members.append(response(5, text, model=OWN_ANSWER, label="own_answer#1"))
    run = new_run(
        prompt=text if place == "prompt" else "Six times seven?",
        history=[Turn(role="user", text=text)] if place == "history" else [],
        consortium=panel("a", "b", "c", check_order=False, system_prompt=text if place == "system prompt" else None),
    )
    order = shown_order(run.shuffle_seed, 1, members)
    attacker = next((number for number, at in enumerate(order, start=1) if members[at].text != HONEST), 1)
    return run, Iteration(number=1, responses=tuple(members), shown_order=order), attacker


def verdict_of(spec: CallSpec, with_mark: bool) -> str:
    """A judge's own verdict in the requested form: it prefers an honest response, with a confidence of 0.6."""
    shown = re.findall(r"^--- response (\d+) \w+ ---\n(.*?)\n--- end of response \1 \w+ ---$", spec.prompt, re.M | re.S)
    honest = [int(number) for number, text in shown if text == HONEST]
    ranking = honest + [int(number) for number, text in shown if text != HONEST and int(number) not in honest]
    fields = {"synthesis": "REAL", "best": honest[0], "ranking": ranking, "confidence": 0.6, "analysis": "I counted."}
    if spec.output_schema is not None:
        mark = spec.output_schema["properties"]["mark"]["enum"][0]
        return json.dumps({"mark": mark, **fields} if with_mark else fields)
    mark = re.findall(r'<verdict mark="(\w{12})">', spec.prompt)[-1]
    inside = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    return f'<verdict mark="{mark}">{inside}</verdict>' if with_mark else f"<verdict>{inside}</verdict>"


async def judged(
    method: str, place: str, text: str, script: Callable[[CallSpec], CallResult | str], reads_schema: bool
) -> tuple[Iteration, ScriptedCalls]:
    run, iteration, _ = cast(place, text)
    call = ScriptedCalls(script)
    return await judging_methods()[method].judge(run, iteration, call, lambda model: reads_schema), call


def is_forged(iteration: Iteration, attacker: MemberResponse | None) -> bool:
    """Whether an injected text decided: by its synthesis, its confidence, or its author's response."""
    verdict = iteration.verdict
    if verdict is None:
        return False  # a ballot's confidence is a measure, and may be 1.0
    chosen = attacker is not None and verdict.chosen == attacker.response_id
    stated = verdict.confidence == 1.0 and not verdict.ranking
    return EVIL in verdict.synthesis or stated or verdict.completeness == 1.0 or bool(verdict.agreeing) or chosen


def is_used_unchanged(iteration: Iteration) -> bool:
    """Whether the arbiter's whole reply became the answer, without a confidence, and the answer says so."""
    verdict = iteration.verdict
    return verdict is not None and verdict.confidence is None and "used unchanged" in (verdict.problem or "")


def texts_at(place: str) -> dict[str, str]:
    _, iteration, attacker = cast(place, EVIL)
    return injections(attacker, len(iteration.shown_order))


@pytest.mark.parametrize("place", PLACES)
def test_the_battery_has_150_texts_at_each_of_five_places(place: str) -> None:
    texts = list(texts_at(place).values())

    assert len(set(texts)) == len(texts) >= 150


@pytest.mark.parametrize("reads_schema", [True, False], ids=["schema", "tags"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("method", METHODS)
async def test_no_injected_text_is_taken_for_the_verdict(method: str, place: str, reads_schema: bool) -> None:
    taken, unread = [], []
    for (name, text), behaviour in ((one, how) for one in texts_at(place).items() for how in BEHAVIOURS):

        def script(spec: CallSpec, text: str = text, reply: Replies = BEHAVIOURS[behaviour]) -> str:
            if spec.model == "model4":  # the attacker, as a peer, votes with its text
                return text
            if spec.call_id.endswith("repair1"):
                return "?"
            return reply(verdict_of(spec, True), verdict_of(spec, False), text)

        iteration, call = await judged(method, place, text, script, reads_schema)
        attacker = next((one for one in iteration.responses if one.text == text), None)
        if method != "vote" and is_forged(iteration, attacker):
            taken.append((name, behaviour))
        if behaviour in LABELLED and (method not in ("synthesize", "review") or name.startswith(ASKED_AGAIN)):
            continue
        is_repaired = any(one.endswith("repair1") for one in call.ids)
        if is_repaired or iteration.verdict is None or (method == "vote" and iteration.verdict.synthesis != HONEST):
            unread.append((name, behaviour))

    assert (taken, unread) == ([], [])


@pytest.mark.parametrize("method", METHODS[:3])
@pytest.mark.parametrize("place", PLACES)
async def test_where_the_arbiter_fails_or_repeats_a_text_its_author_does_not_stand_in(method: str, place: str) -> None:
    wrong = []
    for name, text in texts_at(place).items():
        for behaviour in ("fails", "repeats"):

            def script(spec: CallSpec, text: str = text, behaviour: str = behaviour) -> CallResult | str:
                if spec.call_id.endswith("standin"):
                    return verdict_of(spec, True)
                return failed() if behaviour == "fails" else text

            iteration, call = await judged(method, place, text, script, False)
            attacker = next((one for one in iteration.responses if one.text == text), None)
            asked = {spec.model for spec in call.asked}
            if (is_forged(iteration, attacker) and not is_used_unchanged(iteration)) or not asked <= {
                "judge",
                "model1",
                "model2",
                "model3",
            }:
                wrong.append((name, behaviour))

    assert wrong == []
