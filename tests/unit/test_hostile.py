"""Hostile members and arbiters: the reader never takes one's words for the other's, and never raises."""

import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product

import pytest

from consortium_mcp.engine.judging import judging_methods, shown_order
from consortium_mcp.engine.judging.synthesize import VERDICT_SCHEMA
from consortium_mcp.engine.outcome import closed
from consortium_mcp.records import CallSpec, Iteration, Run
from consortium_mcp.reports.markdown import short_report, transcript
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.text.templates import storable
from consortium_mcp.text.thinking import outside_thinking
from tests.consulted import consulted, is_judging
from tests.hostile_texts import HOSTILE
from tests.provider import Provider, Request, Script
from tests.scripted import MARK, Reply, ScriptedCalls, last_state, new_run, panel, response, verdict_text

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

NAMES = list(HOSTILE)
METHODS = ("synthesize", "pick", "rank", "peer_rank", "vote")
ARBITERS = METHODS[:3]

MEMBERS = [response(1, "red"), response(2), response(3, "blue")]
ORDER = shown_order(new_run().shuffle_seed, 1, MEMBERS)
HONEST_BEST = ORDER.index(0) + 1
"""The number of the honest first response, which the arbiter prefers."""

HONEST_RANKING = [HONEST_BEST, ORDER.index(2) + 1, ORDER.index(1) + 1]


def honest(form: str) -> str:
    """The arbiter's own verdict: the first response, or REAL, with a confidence of 0.4."""
    if form == "json":
        return verdict_text(
            "REAL", 0.4, best=HONEST_BEST, ranking=HONEST_RANKING, analysis="well", dissent="none so far"
        )
    return (
        f"<synthesis_output>\n<synthesis>REAL</synthesis>\n<best>{HONEST_BEST}</best>\n"
        f"<ranking>{', '.join(map(str, HONEST_RANKING))}</ranking>\n<confidence>0.4</confidence>\n"
        "<analysis>well</analysis>\n<dissent>none so far</dissent>\n</synthesis_output>"
    )


def quoting_inside(form: str, hostile: str) -> str:
    """The arbiter's verdict with a member's text quoted in its dissent, escaped where the form escapes."""
    quoted = json.dumps(hostile)[1:-1] if form == "json" else hostile
    return honest(form).replace("none so far", f"Response 2 wrote {quoted} of all things")


QUOTATIONS: dict[str, Callable[[str, str], str]] = {
    "none": lambda form, hostile: honest(form),
    "before": lambda form, hostile: f"Response 2 wrote:\n{hostile}\nMy verdict:\n{honest(form)}",
    "after": lambda form, hostile: f"{honest(form)}\nResponse 2 wrote:\n{hostile}\n",
    "inside": quoting_inside,
}


async def judged(method: str, hostile: str, script: Callable[[CallSpec], Reply], reads_schema: bool) -> Iteration:
    """The judgement of a method on `red`, a hostile response, and `blue`."""
    responses = (MEMBERS[0], response(2, hostile), MEMBERS[2])
    iteration = Iteration(number=1, responses=responses, shown_order=ORDER)
    run = new_run(consortium=panel("model1", "model2", "model3", check_order=False))
    return await judging_methods()[method].judge(run, iteration, ScriptedCalls(script), lambda model: reads_schema)


def test_the_corpus_is_large_enough() -> None:
    assert len(HOSTILE) >= 60 and len(set(HOSTILE.values())) == len(HOSTILE)


@pytest.mark.parametrize("method", ARBITERS)
@pytest.mark.parametrize("name", NAMES)
async def test_the_arbiters_honest_verdict_stands_whatever_a_member_wrote_and_wherever_it_is_quoted(
    name: str, method: str
) -> None:
    found = {}
    for form, where in product(("json", "tags"), QUOTATIONS):
        reply = QUOTATIONS[where](form, HOSTILE[name])
        script = partial(replies, honest(form), reply)
        verdict = (await judged(method, HOSTILE[name], script, form == "json")).verdict
        found[form, where] = verdict and (verdict.synthesis, verdict.confidence, verdict.chosen)
    expected = ("REAL", 0.4, None) if method == "synthesize" else ("red", 0.4, "i1/m1")
    assert found == dict.fromkeys(product(("json", "tags"), QUOTATIONS), expected)


def replies(repaired: str, first: str, spec: CallSpec) -> str:
    """The arbiter's reply to the question, or to the repair."""
    return repaired if "repair" in spec.call_id else first


@pytest.mark.parametrize("where", ["before", "after"])
@pytest.mark.parametrize("name", NAMES)
async def test_a_peers_honest_ballot_stands_whatever_it_quotes(name: str, where: str) -> None:
    hostile = HOSTILE[name]

    def script(spec: CallSpec) -> str:
        if spec.model == "model2":
            return hostile
        first = 1 if re.search(rf"--- response 1 {MARK} ---\n(red|blue)\n", spec.prompt) else 2
        ballot = json.dumps({"ranking": [first, 3 - first]})
        return f"{hostile}\n{ballot}" if where == "before" else f"{ballot}\n{hostile}"

    verdict = (await judged("peer_rank", hostile, script, False)).verdict
    assert verdict is None or (verdict.ranking[-1] == "i1/m2" and f"{MEMBERS[1].label} 0.00" in verdict.analysis)


@pytest.mark.parametrize("name", NAMES)
async def test_a_hostile_vote_is_one_vote(name: str) -> None:
    run = new_run(consortium=panel("a", "b", "c", judging_method="vote", max_iterations=1))
    call = ScriptedCalls(m1="Answer: 7", m2=HOSTILE[name], m3="7")
    ended = closed(await last_state(run, call))
    assert (ended.answer, ended.iterations[0].verdict and len(ended.iterations[0].verdict.votes[0].response_ids)) == (
        "Answer: 7",
        2,
    )


@pytest.mark.parametrize("name", NAMES)
async def test_a_hostile_reply_is_read_or_refused_and_never_raises(name: str) -> None:
    for method, reads_schema in product(METHODS, (True, False)):
        iteration = await judged(method, "green", lambda spec: HOSTILE[name], reads_schema)
        check(closed(new_run(status="exhausted", iterations=(iteration,))))


def check(run: Run) -> None:
    """An ended run is whole: its confidences are none or fractions, its ids exist, and it can be read."""
    ids = {one.response_id for iteration in run.iterations for one in iteration.responses}
    for verdict in (iteration.verdict for iteration in run.iterations if iteration.verdict):
        assert verdict.confidence is None or 0 <= verdict.confidence <= 1
        assert {*verdict.ranking, verdict.chosen} - {None} <= ids
    assert run.answer is not None
    assert transcript(run) and short_report(run)


def saying(texts: Sequence[str]) -> Script:
    """Each member call gives the next text; a judge gives the first text that reads like a ballot."""
    rest = iter(texts)

    def script(request: Request) -> str:
        return '{"ranking": [1, 2]}' if is_judging(request) else next(rest, "and again")

    return script


def shown(text: str) -> str:
    """A text without what a reader of bytes cannot keep, and without blanks at its ends."""
    return storable(text).replace("\ufffd", "").strip()


def all_shown(request: Request) -> list[int]:
    """The numbers of all responses that the arbiter is shown, in their order."""
    return list(range(1, 1 + len(re.findall(r"^--- response \d+ [0-9a-f]{12} ---$", request.prompt, re.MULTILINE))))


@pytest.mark.parametrize("method", METHODS)
async def test_a_run_of_hostile_members_is_saved_and_read_back(
    provider: Provider, service: ConsortiumService, method: str
) -> None:
    most = 5_000 if method == "peer_rank" else 50_000  # each peer is shown all the others' texts
    texts = [text for text in HOSTILE.values() if len(text) < most]
    texts += [HOSTILE["megabytes of one letter"]] if method == "vote" else []
    provider.on("a", saying(texts))
    provider.on("arbiter", lambda request: verdict_text("REAL", 0.4, best=1, ranking=all_shown(request)))

    run = await consulted(service, f"a:{len(texts)}", judging_method=method, max_iterations=1)

    check(run)
    heard = [one.text for one in run.iterations[0].responses if one.ok]
    said = {shown(text) for text in texts} | {shown(outside_thinking(storable(text))) for text in texts} | {"and again"}
    assert len(heard) > len(texts) // 2 and {shown(text or "") for text in heard} <= said
    assert run.iterations[0].measures is not None


@pytest.mark.parametrize("method", ARBITERS)
async def test_a_run_with_a_hostile_arbiter_is_saved_and_read_back(
    provider: Provider, service: ConsortiumService, method: str
) -> None:
    texts = [text for text in HOSTILE.values() if len(text) < 50_000]
    rest = iter([text for text in texts for _ in "12"])  # the second answers the repair
    provider.on("plain-arbiter", lambda request: next(rest, "and again"))
    number = min(len(texts), 100)

    run = await consulted(
        service,
        "a",
        arbiter="plain-arbiter",
        judging_method=method,
        min_iterations=number,
        max_iterations=number,
        deadline_seconds=600,
    )

    check(run)
    assert run.status in ("converged", "exhausted") and len(run.iterations) == number


def test_the_schema_of_every_method_forbids_what_it_does_not_name() -> None:
    assert VERDICT_SCHEMA["additionalProperties"] is False
