"""Every strategy with every judging method: its questions, its decisions, and the combinations that are refused."""

import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from mcp import Client

from consortium_mcp.cli import main
from consortium_mcp.engine.judging import judging_methods, shown_order
from consortium_mcp.engine.judging.peer_rank import borda
from consortium_mcp.engine.judging.vote import count_votes, is_decided, judge_by_vote, votes_cast
from consortium_mcp.engine.measures import COMPARED_PAIRS, measured
from consortium_mcp.engine.members import ask_all, specs_of
from consortium_mcp.engine.outcome import closed
from consortium_mcp.engine.strategies import strategies
from consortium_mcp.records import CallResult, CallSpec, Iteration, MemberResponse, Run
from consortium_mcp.records.roles import ROLES
from consortium_mcp.server import build_server
from consortium_mcp.service.runner import Runner
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.text.answers import compare, final_answer, may_mean_the_same
from consortium_mcp.text.templates import fill
from tests.consulted import arbiter_for, consulted, is_judging
from tests.doors.test_cli import run_command
from tests.plugins import install_plugin
from tests.provider import Provider, Request, verdict
from tests.scripted import MARK, ScriptedCalls, failed, last_state, new_run, panel, response, verdict_text
from tests.server_process import read, said, structured

pytestmark = pytest.mark.anyio

OURS = ("refine", "debate", "eliminate"), ("synthesize", "pick", "rank", "peer_rank", "vote", "choose", "review")
SENSELESS = [("eliminate", method) for method in ("synthesize", "pick", "vote", "choose", "review")]
OF_PRESETS = ("choose", "review")
"""Methods with their own questions, tested in tests/doors/test_presets.py."""

SENSIBLE = [
    (strategy, method)
    for strategy in OURS[0]
    for method in OURS[1]
    if (strategy, method) not in SENSELESS and method not in OF_PRESETS
]

QUOTED = re.compile(rf"--- ([a-z0-9' ]+) {MARK} ---\n(.*?)\n--- end of \1 {MARK} ---", re.DOTALL)
SHOWN = re.compile(r"--- response (\d+) \w+ ---\n(.*?)\n--- end of response", re.DOTALL)


def shown_in(question: str) -> list[str]:
    """The responses that a question shows, in their order."""
    return [text for _, text in SHOWN.findall(question)]


def ranked(question: str, better: Callable[[str], Any] = str) -> list[int]:
    """The numbers of the responses that a question shows, the best first; by default in the order of the alphabet."""
    texts = shown_in(question)
    return sorted(range(1, len(texts) + 1), key=lambda number: better(texts[number - 1]))


async def judged(
    method: str,
    responses: Sequence[MemberResponse],
    call: ScriptedCalls | None = None,
    *,
    reads_schema: bool = True,
    **fields: Any,
) -> Iteration:
    """The first iteration of a run with these responses, judged by a method."""
    run = new_run(**fields)
    order = shown_order(run.shuffle_seed, 1, responses)
    iteration = Iteration(number=1, responses=tuple(responses), shown_order=order)
    return await judging_methods()[method].judge(run, iteration, call or ScriptedCalls(), lambda model: reads_schema)


def three(*texts: str) -> list[MemberResponse]:
    """Responses with these texts, by default three."""
    return [response(place, text) for place, text in enumerate(texts or ("one", "two", "three"), start=1)]


# through the tool


@pytest.fixture
async def client(provider: Provider, service: ConsortiumService) -> AsyncIterator[Client]:
    """A client of a server in this process."""
    async with Runner(service) as runner, Client(build_server(runner)) as client:
        yield client


def script_models(provider: Provider) -> None:
    """Members that say `a, draft 1`, peers and an arbiter that put them in the order of the alphabet."""

    def member(request: Request) -> str:
        if is_judging(request):
            return f"<synthesis_output><ranking>{ranked(request.prompt)}</ranking></synthesis_output>"
        draft = 1 if request.prompt == "Who?" else 2
        return f"{request.model}, draft {draft}.\nAnswer: all\nConfidence: 90%"

    def arbiter(request: Request) -> str:
        draft = 1 + ("draft 2" in request.prompt)
        order = ranked(request.prompt)
        fields = {"synthesis": f"synthesis {draft}", "best": order[0], "ranking": order}
        return verdict_text(confidence=0.9, **fields)  # type: ignore[arg-type]

    for model in "abcd":
        provider.on(model, member)
    provider.on("arbiter", arbiter)


FOUR = {
    "prompt": "Who?",
    "models": ["a", "b", "c", "d"],
    "min_iterations": 2,
    "max_iterations": 2,
}


@pytest.mark.parametrize(("strategy", "method"), SENSIBLE, ids="-".join)
async def test_strategies_and_judging_methods_work_together(
    client: Client, provider: Provider, strategy: str, method: str
) -> None:
    script_models(provider)

    result = structured(
        await client.call_tool(
            "consult_consortium",
            {**FOUR, "strategy": strategy, "judging_method": method, **arbiter_for(method)},
        )
    )
    record = json.loads(await read(client, result["run_uri"]))
    transcript = await read(client, result["transcript_uri"])

    labels = [[one["label"] for one in iteration["responses"]] for iteration in record["iterations"]]
    everybody = ["a#1", "b#1", "c#1", "d#1"]
    assert labels == [everybody, everybody[:3] if strategy == "eliminate" else everybody]
    assert result["answer"] == ("synthesis 2" if method == "synthesize" else "a, draft 2.\nAnswer: all")
    assert (result["status"], result["degraded"], result["answer"] in transcript) == ("converged", [], True)
    assert record["iterations"][1]["measures"] == result["measures"]
    assert (result["measures"]["agreement_across"], result["measures"]["stated_confidence"]) == (
        1.0,
        pytest.approx(0.9),
    )
    assert provider.count("arbiter") == (2 if arbiter_for(method) else 0)


def test_this_list_of_strategies_and_methods_is_complete() -> None:
    assert (tuple(strategies()), tuple(judging_methods())) == OURS


REFUSED = [
    ({"strategy": strategy, "judging_method": method}, f"ranks: rank or peer_rank, not '{method}'")
    for strategy, method in SENSELESS
] + [
    ({"strategy": "eliminate", "judging_method": "rank", "models": ["a", "b"]}, "at least 3 instances"),
    ({"judging_method": "peer_rank", "models": ["a:2"]}, "at least 3 instances"),
    ({"strategy": "argue"}, "no strategy 'argue'. There are: refine, debate, eliminate"),
    ({"judging_method": "best"}, "no judging method 'best'. There are: synthesize, pick, rank, peer_rank, vote"),
]


@pytest.mark.parametrize(("rules", "reason"), REFUSED)
async def test_what_does_not_make_sense_together_is_refused_with_the_reason_before_any_call(
    client: Client, provider: Provider, service: ConsortiumService, rules: dict[str, Any], reason: str
) -> None:
    definition = {"models": ["a", "b", "c"], **rules}
    consulted_inline = await client.call_tool("consult_consortium", {"prompt": "Who?", **definition})
    saved = await client.call_tool("save_consortium", {"name": "panel", **definition})

    assert consulted_inline.is_error and saved.is_error
    assert reason in said(consulted_inline) and reason in said(saved)
    assert (provider.count(), service.store.runs.find.sync(), service.store.consortiums.list_names.sync()) == (
        0,
        [],
        [],
    )


@pytest.mark.usefixtures("provider")
@pytest.mark.parametrize(("rules", "reason"), REFUSED)
def test_the_command_refuses_to_save_what_does_not_make_sense_together(rules: dict[str, Any], reason: str) -> None:
    models = [part for model in rules.get("models", ["a", "b", "c"]) for part in ("-m", model)]
    options = [f"--{name.replace('_', '-')}={value}" for name, value in rules.items() if name != "models"]

    done = CliRunner().invoke(main, ["save", "panel", *models, *options])

    assert (done.exit_code, reason in done.output) == (2, True)


async def test_a_role_given_with_a_model_reaches_it(client: Client, provider: Provider) -> None:
    provider.on("arbiter", verdict())
    models = ["a as skeptic", "b:2 as expert in tax law"]
    await client.call_tool("consult_consortium", {"prompt": "?", "models": models, "arbiter": "arbiter"})

    assert f"\n\n{ROLES['skeptic']}\n\n" in provider.requests_to("a")[0].system
    assert ["\n\nYour role: expert in tax law.\n\n" in one.system for one in provider.requests_to("b")] == [True, True]


# roles


@pytest.mark.parametrize("role", ROLES)
async def test_a_ready_role_stands_after_the_system_prompt(role: str) -> None:
    consortium = panel(members=[{"model": "a", "role": role}, {"model": "b"}], system_prompt="Be brief.")
    systems = [spec.system for spec in specs_of(new_run(consortium=consortium))]
    request = fill("member_form")
    assert systems == [f"Be brief.\n\n{ROLES[role]}\n\n{request}", f"Be brief.\n\n{request}"]


async def test_a_role_stays_in_later_iterations() -> None:
    consortium = panel(members=[{"model": "a", "role": "skeptic"}, {"model": "b"}], min_iterations=2)
    call = ScriptedCalls()
    await last_state(new_run(consortium=consortium), call)
    assert ROLES["skeptic"] in (call.question("i2/m1").system or "")


# pick and rank


async def test_pick_returns_the_best_response_without_its_thinking_and_its_own_confidence() -> None:
    text = "<think>hm</think><b>Weird</b> \u202etext\u202c\n\nConfidence: 10% \n"
    call = ScriptedCalls(
        lambda spec: verdict_text(best=1 + ["Weird" in one for one in shown_in(spec.prompt)].index(True))
    )
    found = (await judged("pick", three("one", text, "three"), call)).verdict
    assert found and (found.synthesis, found.chosen, found.ranking) == ("<b>Weird</b> \u202etext\u202c", "i1/m2", ())
    assert not any("hm" in one for one in shown_in(call.asked[0].prompt))


async def test_rank_orders_all_responses_and_returns_the_first_ones_text() -> None:
    call = ScriptedCalls(lambda spec: verdict_text(ranking=ranked(spec.prompt)))
    found = (await judged("rank", three("c", "a", "b"), call)).verdict
    assert found and (found.synthesis, found.ranking) == ("a", ("i1/m2", "i1/m3", "i1/m1"))


async def test_a_schema_has_room_for_the_responses_that_are_shown_and_for_no_others() -> None:
    call = ScriptedCalls(lambda spec: verdict_text(best=1, ranking=ranked(spec.prompt)))
    for method in ("pick", "rank", "peer_rank"):
        await judged(method, three(*"abcde"), call)
    best, ranking, *ballots = [spec.output_schema and spec.output_schema["properties"] for spec in call.asked]

    assert best and best["best"]["enum"] == [1, 2, 3, 4, 5]
    for properties, shown in ((ranking, 5), *((ballot, 4) for ballot in ballots)):
        numbers = properties and properties["ranking"]
        assert numbers and (numbers["minItems"], numbers["maxItems"]) == (shown, shown)
        assert numbers["items"]["enum"] == list(range(1, shown + 1))


@pytest.mark.parametrize("form", ["pick", "rank"])
async def test_what_is_asked_for_in_tags_is_read_back(form: str) -> None:
    main = {"pick": "best", "rank": "ranking"}[form]

    def reply(spec: CallSpec) -> str:
        asked = re.search(r"<verdict .*</verdict>", spec.prompt, re.DOTALL)
        assert asked is not None
        numbers = ranked(spec.prompt)[: 1 if form == "pick" else 3]
        text = re.sub(f"<{main}>.*</{main}>", f"<{main}>{', '.join(map(str, numbers))}</{main}>", asked[0])
        return re.sub("<confidence>.*</confidence>", "<confidence>0.7</confidence>", text)

    found = (await judged(form, three("b", "a", "c"), ScriptedCalls(reply), reads_schema=False)).verdict
    assert found and (found.synthesis, found.confidence) == ("a", 0.7)


NO_RESPONSE = [0, 4, -1, "-1", "none", "", None, True, 1.5, [1, 2], 10**30, "12345", {"number": "two"}]
NO_RANKING = [[], [1, 2], [1, 1, 2], [1, 2, 4], [0, 1, 2], [1, 2, 3, 3], "-1, 2, 3", "best: none", None, 123]


@pytest.mark.parametrize(
    ("method", "main", "wrong"),
    [("pick", "best", wrong) for wrong in NO_RESPONSE] + [("rank", "ranking", wrong) for wrong in NO_RANKING],
)
async def test_a_number_that_was_not_shown_is_asked_for_once_more_and_never_guessed(
    method: str, main: str, wrong: object
) -> None:
    reply = json.dumps({main: wrong, "confidence": 0.9})
    call = ScriptedCalls(arbiter=reply, arbiter_repair1=reply, arbiter_standin=reply, arbiter_standin_repair1=reply)
    iteration = await judged(method, three(), call)
    assert iteration.verdict is None and iteration.arbiter_error
    assert call.ids == ["i1/arbiter", "i1/arbiter/repair1", "i1/arbiter/standin", "i1/arbiter/standin/repair1"]


async def test_a_repaired_number_is_taken() -> None:
    call = ScriptedCalls(arbiter=verdict_text(best=7), arbiter_repair1=verdict_text(best=2))
    found = await judged("pick", three(), call)
    assert found.verdict and found.verdict.chosen == f"i1/m{found.shown_order[1] + 1}"


@pytest.mark.parametrize("written", ["1-2-3", "1 > 2 > 3", "1. Response 1\n", "[1, 2, 3]", "#1, #2, #3"])
async def test_rankings_are_read_as_models_write_them(written: str) -> None:
    written = "1, 2, 3" if written.endswith("\n") else written
    found = await judged("rank", three(), ScriptedCalls(arbiter=verdict_text(ranking=written)))
    assert found.verdict and found.verdict.ranking == tuple(f"i1/m{place + 1}" for place in found.shown_order)


# peer_rank


@pytest.mark.parametrize(
    ("ballots", "scores"),
    [
        ({"a": ["b", "c"], "b": ["a", "c"], "c": ["a", "b"]}, {"a": 1, "b": 0.5, "c": 0}),
        ({"a": ["b", "c"], "b": ["c", "a"], "c": ["a", "b"]}, {"a": 0.5, "b": 0.5, "c": 0.5}),
        ({"a": ["b", "c"]}, {"a": None, "b": 1, "c": 0}),
        ({"a": ["c"], "b": ["a", "c"]}, {"a": 1, "b": None, "c": 0.5}),
        ({}, {"a": None, "b": None, "c": None}),
        ({"x": ["a", "b", "c"]}, {"a": 1, "b": 0.5, "c": 0}),
    ],
)
def test_borda_is_the_mean_place_over_the_ballots_that_name_a_candidate(
    ballots: dict[str, list[str]], scores: dict[str, float | None]
) -> None:
    assert borda(ballots, ["a", "b", "c"]) == scores


def peers(order: Callable[[CallSpec], object]) -> ScriptedCalls:
    """Members that rank the others in this order."""
    return ScriptedCalls(lambda spec: json.dumps({"ranking": order(spec)}))


async def test_peers_rank_and_the_best_mean_wins() -> None:
    found = (await judged("peer_rank", three("c", "a", "b"), peers(lambda spec: ranked(spec.prompt)))).verdict
    assert found and (found.synthesis, found.confidence, found.chosen) == ("a", 1.0, "i1/m2")
    assert found.ranking == ("i1/m2", "i1/m3", "i1/m1")
    assert "from 3 ballots: model2#1 1.00, model3#1 0.50, model1#1 0.00" in found.analysis


async def test_a_peer_sees_every_response_but_its_own_and_no_name() -> None:
    call = peers(lambda spec: ranked(spec.prompt))
    await judged("peer_rank", three("red", "green", "blue"), call)
    shown = {spec.model: sorted(shown_in(spec.prompt)) for spec in call.asked}
    assert shown == {"model1": ["blue", "green"], "model2": ["blue", "red"], "model3": ["green", "red"]}
    assert not any(re.search(r"model\d", spec.prompt) for spec in call.asked)
    assert sorted(call.ids) == ["i1/peer1", "i1/peer2", "i1/peer3"]


async def test_each_peer_is_shown_the_responses_in_an_order_of_its_own() -> None:
    call = peers(lambda spec: ranked(spec.prompt))
    await judged("peer_rank", three(*"abcdefgh"), call)
    orders = {tuple(text for text in shown_in(spec.prompt) if text in "gh") for spec in call.asked[:6]}
    assert orders == {("g", "h"), ("h", "g")}


def test_equal_borda_counts_tie_whatever_places_they_come_from() -> None:
    ballots = {"a": "bcde", "b": "acde", "c": "abde", "d": "abce", "e": "bcad"}

    scores = borda({voter: list(ballot) for voter, ballot in ballots.items()}, list("abcde"))

    assert (scores["a"], scores["b"]) == (5 / 6, 5 / 6)  # places 0, 0, 0, 2 and 0, 0, 1, 1: floats tell them apart


async def test_of_responses_with_equal_borda_scores_the_first_declared_wins() -> None:
    circle = {"model1": "b", "model2": "c", "model3": "a"}

    def prefer(spec: CallSpec) -> list[int]:
        return ranked(spec.prompt, lambda text: text != circle[spec.model])

    found = (await judged("peer_rank", three("a", "b", "c"), peers(prefer))).verdict
    assert found and (found.synthesis, found.confidence) == ("a", 0.5)


@pytest.mark.parametrize("ballot", [[0, 1], [3], [-1, 1], [], "none", None, "1, 9", 10**30])
async def test_a_ballot_that_cannot_be_read_is_not_counted(ballot: object) -> None:
    call = peers(lambda spec: ballot if spec.model == "model3" else ranked(spec.prompt))
    found = (await judged("peer_rank", three("a", "b", "c"), call)).verdict
    assert found and found.synthesis == "a" and "from 2 ballots" in found.analysis


async def test_a_partial_ballot_ranks_only_the_responses_that_it_names() -> None:
    call = peers(lambda spec: ranked(spec.prompt)[:1])
    found = (await judged("peer_rank", three("a", "b", "c"), call)).verdict
    assert found and found.ranking == ("i1/m1", "i1/m2", "i1/m3")


async def test_a_number_named_twice_on_a_ballot_counts_once() -> None:
    call = peers(lambda spec: [number for number in ranked(spec.prompt) for _ in "12"])
    found = (await judged("peer_rank", three("a", "b", "c"), call)).verdict
    assert found and found.confidence == 1.0


async def test_a_peer_that_fails_casts_no_ballot_and_its_response_can_win() -> None:
    def script(spec: CallSpec) -> CallResult | str:
        return failed() if spec.model == "model1" else json.dumps({"ranking": ranked(spec.prompt)})

    found = (await judged("peer_rank", three("a", "b", "c"), ScriptedCalls(script))).verdict
    assert found and found.synthesis == "a" and "from 2 ballots" in found.analysis


async def test_without_a_readable_ballot_there_is_no_verdict_and_the_answer_says_so() -> None:
    consortium = panel("a", "b", "c", judging_method="peer_rank")
    run = closed(await last_state(new_run(consortium=consortium), ScriptedCalls(lambda spec: "I cannot say.")))
    assert (run.status, run.answer, run.confidence) == ("exhausted", "I cannot say.", None)
    assert run.degraded[0].startswith("The judging method peer_rank gave no verdict (no member's ranking")


async def test_a_single_response_is_taken_without_asking_anybody() -> None:
    call = ScriptedCalls()
    found = (await judged("peer_rank", three("one"), call)).verdict
    assert found and (found.synthesis, found.confidence, call.ids) == ("one", None, [])
    assert found.problem == "there is one response; the first one is taken"


async def test_two_responses_are_ranked_by_both_their_authors_who_are_not_told_whose_is_whose() -> None:
    call = peers(lambda spec: ranked(spec.prompt))
    found = (await judged("peer_rank", three("b", "a"), call)).verdict
    assert found and (found.synthesis, found.confidence, found.ranking) == ("a", 1.0, ("i1/m2", "i1/m1"))
    assert [sorted(shown_in(spec.prompt)) for spec in call.asked] == [["a", "b"], ["a", "b"]]


async def test_of_two_authors_who_each_prefer_their_own_neither_wins() -> None:
    own = {"model1": "b", "model2": "a"}
    call = peers(lambda spec: ranked(spec.prompt, lambda text: text != own[spec.model]))
    found = (await judged("peer_rank", three("b", "a"), call)).verdict
    assert found and (found.synthesis, found.confidence) == ("b", 0.5)


@pytest.mark.parametrize("model", ["model2", "own_answer"])
async def test_the_ballot_of_one_author_of_two_decides_nothing(model: str) -> None:
    responses = [response(1, "b"), response(2, "a", model=model)]
    call = ScriptedCalls(lambda spec: json.dumps({"ranking": ranked(spec.prompt)}) if spec.model == "model1" else "?")
    found = (await judged("peer_rank", responses, call)).verdict
    assert found and (found.synthesis, found.confidence) == ("b", None)
    assert found.problem == "there are two responses, and one author did not rank them; the first one is taken"


async def test_an_elimination_by_peers_goes_on_to_the_last_two() -> None:
    rules = {"strategy": "eliminate", "judging_method": "peer_rank", "min_iterations": 2, "max_iterations": 2}

    def script(spec: CallSpec) -> str:
        if "/peer" in spec.call_id:
            return json.dumps({"ranking": ranked(spec.prompt)})
        return f"{spec.label} in {spec.iteration}.\nAnswer: blue"

    run = await last_state(new_run(consortium=panel("c", "b", "a", **rules)), ScriptedCalls(script))

    assert [len(iteration.responses) for iteration in run.iterations] == [3, 2]
    assert (run.status, closed(run).answer, closed(run).degraded) == ("converged", "a#1 in 2.\nAnswer: blue", ())


# vote


FIRST = "the first one is shown."
ONE_OF_ONE = "Majority: 1 of 1 vote, a margin of 1."


@pytest.mark.parametrize(
    ("texts", "answer", "confidence", "analysis", "dissent"),
    [
        (("1", "1", "2"), "1", 2 / 3, "Majority: 2 of 3 votes, a margin of 1.", "1 for '2'"),
        (("2", "1", "1", "3"), "1", 0.5, "Plurality: 2 of 4 votes, a margin of 1.", "1 for '2'; 1 for '3'"),
        (("2", "1"), "2", 0.5, f"Tie: 2 answers have 1 of 2 votes each; {FIRST}", "1 for '1' (a tie)"),
        (("1", "2", "2", "1"), "1", 0.5, f"Tie: 2 answers have 2 of 4 votes each; {FIRST}", "2 for '2' (a tie)"),
        (("7",), "7", 1.0, "Majority: 1 of 1 vote, a margin of 1.", ""),
        (("Answer: 7", "it is 7", "x = 7.0", "so\n7"), "Answer: 7", 1.0, "Majority: 4 of 4 votes, a margin of 4.", ""),
        (("Confidence: 9", "5", "<think>"), "5", 1 / 3, f"{ONE_OF_ONE} 2 of 3 cast no vote.", ""),
        (
            ("5", "I can't help with that.", "Sorry, I cannot answer."),
            "5",
            1 / 3,
            f"{ONE_OF_ONE} 2 of 3 cast no vote.",
            "",
        ),
    ],
)
async def test_the_largest_group_wins_and_majority_and_margin_are_told(
    texts: tuple[str, ...], answer: str, confidence: float, analysis: str, dissent: str
) -> None:
    found = (await judged("vote", three(*texts))).verdict
    assert found is not None
    assert (found.synthesis, found.analysis, found.dissent) == (answer, analysis, dissent)
    assert found.confidence == pytest.approx(confidence)


async def test_a_vote_without_any_answer_is_no_verdict() -> None:
    iteration = await judged("vote", three("<think>so", "Confidence: 1"))
    assert (iteration.verdict, iteration.arbiter_error) == (None, "no response contains an answer that can be counted")


def test_groups_of_votes_name_the_responses_that_cast_them() -> None:
    groups = count_votes(votes_cast([("m1", "Rome"), ("m2", "Oslo"), ("m3", "Oslo"), ("m4", "")]))
    assert [(group.answer, group.response_ids) for group in groups] == [("Oslo", ("m2", "m3")), ("Rome", ("m1",))]


@pytest.mark.parametrize(
    ("votes", "asked", "rules", "decided"),
    [
        ("AA", 3, {"confidence_threshold": 0.6}, True),
        ("AA", 3, {"max_iterations": 1}, False),  # the same in the last iteration: its status must not be chance
        ("AA", 3, {}, False),  # whether the share reaches the threshold is open
        ("AAAA", 5, {}, False),  # four of five earn 0.75, five 0.92
        ("AAAAAA", 7, {}, True),
        ("AAA", 5, {}, False),
        ("AABB", 5, {"max_iterations": 1}, False),
        ("AAABC", 6, {"max_iterations": 1}, True),
        ("AAABC", 6, {"confidence_threshold": 0.9}, True),  # below it either way
        ("AAABC", 6, {"confidence_threshold": 0.9, "stop_on": "both"}, False),
        ("A-", 3, {"max_iterations": 1}, False),
        ("AA-", 4, {"max_iterations": 1}, True),  # without the failed one, 0.8 cannot be reached
        ("---", 3, {}, False),
        ("", 3, {}, False),
    ],
)
def test_a_vote_is_decided_when_the_rest_changes_neither_the_answer_nor_what_happens_next(
    votes: str, asked: int, rules: dict[str, Any], decided: bool
) -> None:
    results = [failed() if vote == "-" else CallResult(text=f"Answer: {vote}") for vote in votes]
    assert is_decided(new_run(consortium=panel(judging_method="vote", **rules)), results, asked) is decided


async def test_a_vote_does_not_wait_for_a_member_that_cannot_change_it(
    provider: Provider, service: ConsortiumService
) -> None:
    for model in "ab":
        provider.on(model, "Answer: 7")
    provider.gate("c")

    run = await consulted(service, "a", "b", "c", judging_method="vote", confidence_threshold=0.6)

    assert (run.status, run.answer, run.degraded) == ("converged", "Answer: 7", ())
    assert run.confidence == pytest.approx(2 / 3)
    assert [one.late for one in run.iterations[0].responses] == [False, False, True]


async def test_a_vote_that_went_on_without_members_who_could_have_changed_it_says_who_is_missing() -> None:
    heard = [response(place, f"Answer: {answer}") for place, answer in enumerate("556", start=1)]
    late = [response(place, None, late=True) for place in (4, 5)]
    run = new_run(consortium=panel(*"abcde", judging_method="vote", max_iterations=1))
    iteration = Iteration(number=1, responses=(*heard, *late), shown_order=(0, 1, 2))
    iteration = await judge_by_vote(run, iteration, ScriptedCalls(), lambda model: False)

    run = closed(run.model_copy(update={"status": "exhausted", "iterations": (iteration,)}))

    assert run.degraded[0] == "Late and not judged, after a long silence: model4#1, model5#1."


async def test_members_that_agree_are_all_waited_for_where_that_reaches_the_threshold(
    provider: Provider, service: ConsortiumService
) -> None:
    for model in "abcde":
        provider.on(model, "Answer: 7")

    run = await consulted(service, *"abcde", judging_method="vote")

    assert (run.status, len(run.iterations)) == ("converged", 1) and run.confidence == pytest.approx(5.5 / 6)


async def test_what_was_heard_before_a_crash_is_heard_again_though_the_vote_was_decided_without_it() -> None:
    run = new_run(consortium=panel("a", "b", "c", judging_method="vote", max_iterations=1))
    responses = await ask_all(specs_of(run), ScriptedCalls(lambda spec: "7"), set(), lambda results, asked: True)
    assert [one.late for one in responses] == [False, False, False]


# debate


async def debated(*scripts: dict[str, str], members: str = "abc") -> ScriptedCalls:
    """Every question of a debate in which, in each iteration, the models give these responses or fail."""

    def script(spec: CallSpec) -> CallResult | str:
        if "arbiter" in spec.call_id:
            return verdict_text(f"synthesis {spec.iteration}", 0.1)
        return scripts[spec.iteration - 1].get(spec.model, failed())

    call = ScriptedCalls(script)
    await last_state(new_run(consortium=panel(*members, strategy="debate", max_iterations=len(scripts))), call)
    return call


def quoted_in(prompt: str) -> dict[str, str]:
    """The fenced texts of a question by their names."""
    return dict(QUOTED.findall(prompt))


async def test_in_a_debate_everybody_sees_its_own_response_and_the_others_without_names() -> None:
    call = await debated({"a": "red", "b": "green", "c": "blue"}, {})
    prompt = call.question("i2/m2").prompt
    assert quoted_in(prompt) == {"your response": "green", "other response 1": "red", "other response 2": "blue"}
    assert prompt.count("green") == 1 and "#1" not in prompt and "synthesis 1" not in prompt


async def test_in_a_debate_no_instance_sees_the_others_before_its_own_response() -> None:
    call = await debated({"a": "red", "b": "green"}, {"a": "red", "b": "green", "c": "blue"}, {"c": "blue"})
    assert [call.question(f"i{number}/m3").prompt for number in (1, 2)] == ["Why is the sky blue?"] * 2
    assert list(quoted_in(call.question("i3/m3").prompt).values()) == ["blue", "red", "green"]


async def test_in_a_debate_one_that_failed_once_keeps_its_earlier_response() -> None:
    call = await debated({"a": "red", "b": "green", "c": "blue"}, {"a": "rot", "b": "gruen"}, {})
    assert quoted_in(call.question("i3/m3").prompt) == {
        "your response": "blue",
        "other response 1": "rot",
        "other response 2": "gruen",
    }


async def test_in_a_debate_a_failed_response_is_not_shown() -> None:
    call = await debated({"a": "red", "b": "green"}, {})
    assert quoted_in(call.question("i2/m1").prompt) == {"your response": "red", "other response 1": "green"}
    assert "It is down" not in call.question("i2/m1").prompt


async def test_a_debate_of_one_instance_asks_the_prompt_again() -> None:
    call = await debated({"a": "red"}, {})
    assert call.question("i2/m1").prompt == "Why is the sky blue?"


# eliminate


@pytest.mark.parametrize(("max_calls", "status"), [(9, "converged"), (8, "budget")])
async def test_a_budget_is_held_against_those_who_are_still_asked(
    client: Client, provider: Provider, max_calls: int, status: str
) -> None:
    script_models(provider)
    rules = {"strategy": "eliminate", "judging_method": "rank", "check_order": False, "max_calls": max_calls}
    rules |= arbiter_for("rank")

    result = structured(await client.call_tool("consult_consortium", {**FOUR, **rules}))

    assert (result["status"], provider.count()) == (status, 9 if status == "converged" else 5)


async def eliminated(
    better: Callable[[str], Any], *members: dict[str, Any], failing: Sequence[str] = ()
) -> list[list[str]]:
    """The instances asked in each of five iterations, as `call id label`, with an arbiter that prefers these texts."""

    def script(spec: CallSpec) -> CallResult | str:
        if "arbiter" in spec.call_id:
            return verdict_text(ranking=ranked(spec.prompt, better), confidence=0.1)
        return failed() if spec.call_id in failing else f"{spec.label} in {spec.iteration}"

    call = ScriptedCalls(script)
    rules = {"strategy": "eliminate", "judging_method": "rank", "min_iterations": 5, "max_iterations": 5}
    await last_state(new_run(consortium=panel(members=members, **rules)), call)
    asked = [spec for spec in call.asked if "/m" in spec.call_id]
    return [[f"{one.call_id} {one.label}" for one in asked if one.iteration == number] for number in range(1, 6)]


ABCD = [{"model": model} for model in "abcd"]


async def test_the_lowest_ranked_leaves_before_each_iteration_and_two_always_stay() -> None:
    asked = await eliminated(str, *ABCD)
    labels = [["".join(one.partition(" ")[2][0]) for one in iteration] for iteration in asked]
    assert labels == [["a", "b", "c", "d"], ["a", "b", "c"], ["a", "b"], ["a", "b"], ["a", "b"]]


async def test_instances_keep_their_labels_when_one_before_them_left() -> None:
    asked = await eliminated(lambda text: text.startswith("a#2"), {"model": "a", "count": 4})
    assert asked[1] == ["i2/m1 a#1", "i2/m2 a#3", "i2/m3 a#4"]


async def test_one_that_failed_is_not_ranked_and_asked_again() -> None:
    asked = await eliminated(lambda text: text.startswith("b"), *ABCD, failing=["i1/m3"])
    assert asked[1] == ["i2/m1 a#1", "i2/m2 c#1", "i2/m3 d#1"]


async def test_no_instance_leaves_after_an_iteration_without_a_ranking() -> None:
    asked = await eliminated(lambda text: 0, *ABCD, failing=["i1/m1", "i1/m2", "i1/m3", "i1/m4"])
    assert asked[0] == ["i1/m1 a#1", "i1/m2 b#1", "i1/m3 c#1", "i1/m4 d#1"]


# when it stops


async def stopped(stop_on: str, confidence: float, *texts: str) -> Run:
    """The run after its last iteration, with this confidence of the arbiter and these responses."""

    def script(spec: CallSpec) -> str:
        if "arbiter" in spec.call_id:
            return verdict_text(f"synthesis {spec.iteration} {'x' * spec.iteration}", confidence)
        return texts[int(spec.call_id.rpartition("m")[2]) - 1]

    return await last_state(new_run(consortium=panel("a", "b", stop_on=stop_on)), ScriptedCalls(script))


@pytest.mark.parametrize(
    ("stop_on", "confidence", "texts", "status"),
    [
        ("arbiter", 0.95, ("yes", "no"), "converged"),
        ("arbiter", 0.1, ("yes", "yes"), "exhausted"),
        ("agreement", 0.95, ("yes", "no"), "exhausted"),
        ("agreement", 0.1, ("yes", "yes"), "converged"),
        ("both", 0.95, ("yes", "no"), "exhausted"),
        ("both", 0.1, ("yes", "yes"), "exhausted"),
        ("both", 0.95, ("yes", "yes"), "converged"),
    ],
)
async def test_a_run_stops_on_what_it_is_told_to(
    stop_on: str, confidence: float, texts: tuple[str, ...], status: str
) -> None:
    assert (await stopped(stop_on, confidence, *texts)).status == status


async def test_agreement_within_a_model_counts_where_there_is_only_one() -> None:
    consortium = panel(members=[{"model": "a", "count": 2}], stop_on="agreement")
    run = await last_state(
        new_run(consortium=consortium), ScriptedCalls(m1="yes", m2="yes", arbiter=verdict_text("x", 0))
    )
    measures = run.iterations[0].measures
    assert measures and (measures.agreement_within, measures.agreement_across, run.status) == (1.0, None, "converged")


async def test_a_single_response_has_no_agreement_to_stop_on() -> None:
    run = await stopped("agreement", 0.95, "yes", "")
    assert run.iterations[0].measures and run.iterations[0].measures.agreement_across is None
    assert run.status == "exhausted"


def test_agreement_is_measured_for_as_many_instances_as_there_may_be() -> None:
    instances = [response(place, f"Answer: {place}", label=f"a#{place}", model="a") for place in range(1, 257)]
    measures = measured(Iteration(number=1, responses=tuple(instances))).measures
    assert 256 * 255 / 2 > COMPARED_PAIRS and measures and measures.agreement_within == 0.0


@pytest.mark.parametrize(
    ("texts", "agreement"),
    [
        (("Answer: 7", "Answer: 8"), 0.0),
        (("It is Paris, of course.\nAnswer: Paris", "It is Paris, of course.\nAnswer: Lyon"), 0.0),
        (("The result of it all is 7.", "The result of it all is 8."), 0.0),
        (("So it is.\nAnswer: 7", "7"), 1.0),
        (("<think>1</think>It is blue\nConfidence: 90%", "It is blue\nConfidence: 10%"), 1.0),
        (("Answer: 7", "It depends on many things.", "7"), 1.0),  # what cannot be compared is left out
        (("Answer: 7", "It depends on many things.", "8"), 0.0),
        (("It depends on many things.", "Take what is there and be glad of it."), None),
    ],
)
def test_agreement_is_the_share_of_comparable_pairs_with_the_same_answer(
    texts: tuple[str, ...], agreement: float | None
) -> None:
    measures = measured(Iteration(number=1, responses=tuple(three(*texts)))).measures
    assert measures and measures.agreement_across == agreement


# the order checked


async def order_checked(confidence: float, again: str, **rules: Any) -> tuple[bool | None, ScriptedCalls]:
    """Whether the verdict held in reversed order, and the calls."""
    first = verdict_text("It is blue, because of scattering.", confidence)
    call = ScriptedCalls(arbiter=first, arbiter_reversed=again)
    run = await last_state(new_run(consortium=panel("a", "b", "c", max_iterations=1, **rules)), call)
    measures = run.iterations[0].measures
    assert measures is not None
    return measures.order_held, call


@pytest.mark.parametrize(("synthesis", "held"), [("It is  blue, because of scattering.", True), ("Green.", None)])
async def test_a_verdict_close_to_the_threshold_is_asked_for_again_in_reversed_order(
    synthesis: str, held: bool | None
) -> None:
    order_held, call = await order_checked(0.82, verdict_text(synthesis, 0.5))
    shown = [shown_in(call.question(call_id).prompt) for call_id in ("i1/arbiter", "i1/arbiter/reversed")]
    assert (order_held, shown[1]) == (held, shown[0][::-1])


@pytest.mark.parametrize("confidence", [0.0, 0.7, 0.9, 1.0])
async def test_a_verdict_far_from_the_threshold_is_asked_for_once(confidence: float) -> None:
    order_held, call = await order_checked(confidence, verdict_text())
    assert (order_held, call.ids[-1]) == (None, "i1/arbiter")


async def test_the_order_is_not_checked_where_that_is_switched_off() -> None:
    order_held, call = await order_checked(0.82, verdict_text(), check_order=False)
    assert (order_held, call.ids[-1]) == (None, "i1/arbiter")


@pytest.mark.parametrize("again", [failed(), ""])
async def test_a_second_verdict_that_is_not_there_says_nothing_of_the_order(again: Any) -> None:
    order_held, call = await order_checked(0.82, again)
    assert order_held is None and "i1/arbiter/reversed" in call.ids


async def test_a_verdict_that_did_not_hold_is_still_the_verdict() -> None:
    call = ScriptedCalls(arbiter=verdict_text("blue", 0.82), arbiter_reversed=verdict_text("green", 0.1))
    run = closed(await last_state(new_run(), call))
    assert (run.status, run.answer, run.confidence) == ("converged", "blue", 0.82)


# claims


def claim(**fields: Any) -> dict[str, Any]:
    """A disputed claim as the arbiter writes it."""
    return {
        "claim": "The sky is blue.",
        "supported_by": [1, 2],
        "opposed_by": [3],
        "quote_for": "blue",
        "quote_against": "green",
        **fields,
    }


async def test_claims_name_instances_once_the_anonymity_is_lifted() -> None:
    said = three("It is  “blue”, of course.", "blue too", "It is green.")
    iteration = await judged("synthesize", said, ScriptedCalls(arbiter=verdict_text(claims=[claim()])))
    labels = [f"model{place + 1}#1" for place in iteration.shown_order]
    assert iteration.verdict is not None
    (found,) = iteration.verdict.claims
    assert (list(found.supported_by), list(found.opposed_by)) == (labels[:2], labels[2:])
    assert (found.claim, found.quote_for, found.quote_against) == ("The sky is blue.", "blue", "green")
    assert iteration.verdict.problem is None


@pytest.mark.parametrize("claims", [None, [], "none", [5], [{}], [{"claim": ""}], {"claim": "x"}])
async def test_without_readable_claims_there_are_none(claims: object) -> None:
    iteration = await judged("synthesize", three(), ScriptedCalls(arbiter=verdict_text(claims=claims)))
    assert iteration.verdict and iteration.verdict.claims == ()


@pytest.mark.parametrize("side", ["supported_by", "opposed_by"])
@pytest.mark.parametrize("number", [0, 4, -1])
async def test_a_response_number_that_was_not_shown_is_left_out_of_its_claim(side: str, number: int) -> None:
    call = ScriptedCalls(
        arbiter=verdict_text(claims=[claim(**{side: [number, 2], "quote_for": "", "quote_against": ""})])
    )
    iteration = await judged("synthesize", three(), call)
    assert iteration.verdict and len(getattr(iteration.verdict.claims[0], side)) == 1 and call.ids == ["i1/arbiter"]
    assert iteration.verdict.problem == "its claims are kept without 1 number of responses not shown"


async def test_a_verdict_that_stays_unreadable_is_not_shown_as_the_answers_text() -> None:
    wrong = '{"synthesis": {}, "confidence": 0.9}'
    call = ScriptedCalls(arbiter=wrong, arbiter_repair1=wrong, arbiter_standin=verdict_text("of the stand-in"))
    iteration = await judged("synthesize", three(), call)
    assert iteration.verdict and iteration.verdict.synthesis == "of the stand-in"
    assert iteration.judged_by == "model1"


async def test_claims_reach_the_structured_result_and_the_resource(client: Client, provider: Provider) -> None:
    provider.on("arbiter", verdict_text("x", 0.9, claims=[claim(supported_by=[1], opposed_by=[2])]))
    arguments = {"prompt": "?", "models": ["a", "b"], "arbiter": "arbiter"}
    result = structured(await client.call_tool("consult_consortium", arguments))
    record = json.loads(await read(client, result["run_uri"]))

    assert sorted(result["claims"][0]["supported_by"] + result["claims"][0]["opposed_by"]) == ["a#1", "b#1"]
    assert record["iterations"][0]["verdict"]["claims"] == result["claims"]


# other packages


MEANING = """
import llm, os

class Meaning(llm.EmbeddingModel):
    model_id = "meaning"
    def embed_batch(self, texts):
        if os.environ.get("MEANING") == "down":
            raise RuntimeError("it is down")
        for text in texts:
            is_cat = "cat" in text or "feline" in text or os.environ.get("MEANING") == "flat"
            yield [1.0, 0.1] if is_cat else [0.0, 1.0]

class Keyed(Meaning):
    model_id = "keyed-meaning"
    needs_key = "meaning"

@llm.hookimpl
def register_embedding_models(register):
    register(Meaning(), aliases=("sense",))
    register(Keyed())
"""


@pytest.fixture
def animals(provider: Provider, plugin_folder: Path) -> Provider:
    """Two members with the same meaning in different words, and two with another meaning in similar words."""
    install_plugin(plugin_folder, "meaning_plugin", MEANING)
    for model, answer in zip("abcd", ("a domestic cat", "the house feline", "a large dog", "a large dog"), strict=True):
        provider.on(model, f"Answer: {answer}")
    provider.on("e", "Answer: certainly a cat")
    return provider


def voted(*options: str, models: str = "abcde") -> tuple[list[list[str]], Run]:
    """The groups of a vote by the real command, and its run."""
    members = [part for model in models for part in ("-m", model)]
    done = run_command("consult", "What is it?", *members, "--judging-method", "vote", "--json", *options)
    assert done.returncode == 0, done.stderr
    run = Run.model_validate(
        {name: value for name, value in json.loads(done.stdout).items() if name != "schema_version"}
    )
    assert run.iterations[0].verdict is not None
    return [[one.partition("/")[2] for one in group.response_ids] for group in run.iterations[0].verdict.votes], run


ONCE = ("--max-iterations", "1")


@pytest.mark.usefixtures("animals")
def test_an_embedding_model_counts_answers_of_one_meaning_together() -> None:
    by_meaning, run = voted("--embedding-model", "sense", *ONCE)
    by_wording, _ = voted(*ONCE)

    assert by_meaning == [["m1", "m2", "m5"], ["m3", "m4"]]
    assert by_wording[0] == ["m3", "m4"] and len(by_wording) == 4
    assert (run.answer, run.degraded) == ("Answer: a domestic cat", ())
    assert run.confidence == pytest.approx(3.5 / 6)  # three of five


@pytest.mark.usefixtures("animals")
@pytest.mark.parametrize(
    ("state", "why"), [("down", "RuntimeError: it is down"), ("flat", None)], ids=["down", "all alike"]
)
def test_an_embedding_model_that_fails_leaves_what_the_wording_says_and_the_answer_says_so(
    monkeypatch: pytest.MonkeyPatch, state: str, why: str | None
) -> None:
    monkeypatch.setenv("MEANING", state)

    groups, run = voted("--embedding-model", "meaning", *ONCE)

    assert len(groups) == (4 if why else 2)  # "a large dog" is too short to be anything else in other words
    said_so = (
        f"The judging method vote: the embedding model meaning failed ({why}), so answers are compared by wording."
    )
    assert run.degraded == ((said_so,) if why else ())


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("no-such", "llm knows no embedding model 'no-such'."),
        ("keyed-meaning", "The embedding model 'keyed-meaning' cannot be used: No key found - add one using 'llm keys"),
    ],
)
def test_an_embedding_model_that_cannot_be_called_is_named_before_anything_is_paid(
    animals: Provider, name: str, why: str
) -> None:
    saved = run_command("save", "panel", "-m", "a", "-m", "b", "--judging-method", "vote", "--embedding-model", name)
    done = run_command("consult", "?", "--consortium", "panel")

    assert f"Error: {why}" in done.stderr and done.returncode == 1 and animals.count() == 0
    assert f"It cannot run yet: {why}" in saved.stderr and f"embedding model {name}" in run_command("list").stdout
    assert json.loads(run_command("show", "panel", "--json").stdout)["definition"]["embedding_model"] == name


def test_a_limit_in_dollars_is_refused_if_the_cost_of_embeddings_is_unknown(animals: Provider) -> None:
    options = ["--judging-method", "vote", "--embedding-model", "meaning", "--max-cost", "1"]

    done = run_command("consult", "?", "-m", "a", "-m", "b", *options)

    assert done.returncode == 1 and "the price of a, b, meaning is unknown" in done.stderr
    assert animals.count() == 0


def test_no_response_is_left_out_of_a_vote_whose_groups_can_still_be_joined() -> None:
    results = [CallResult(text="Answer: 7")] * 3
    by_wording, by_meaning = (
        new_run(consortium=panel(judging_method="vote", embedding_model=name)) for name in (None, "x")
    )

    assert (is_decided(by_wording, results, 4), is_decided(by_meaning, results, 4)) == (False, False)
    assert is_decided(by_wording, [*results, *results], 7)
    assert not is_decided(by_meaning, [*results, *results], 7)


@pytest.mark.parametrize(
    ("texts", "groups"),
    [
        (("5 km", "5 miles", "5 km"), [[1, 3], [2]]),
        (("5", "5 km", "5 miles", "5"), [[1, 2, 4], [3]]),
        (("5 km", "5 kilometers", "5 kilometres", "5km"), [[1, 2, 3, 4]]),
        (("$5", "5 dollars", "5 euros", "5"), [[1, 2, 4], [3]]),
        (("5 %", "5 percent", "0.05"), [[1, 2, 3]]),
        (("5 h", "5 hours", "5 hour"), [[1, 2, 3]]),
        (("5 km", "5 km/h"), [[1], [2]]),
        (("5 m", "5 miles", "5 minutes"), [[1], [2], [3]]),
        (("B", "B) Paris", "(B) Paris", "C) Rome", "Answer: (B)"), [[1, 2, 3, 5], [4]]),
    ],
)
def test_votes_for_a_number_keep_its_unit_and_votes_for_an_option_are_for_its_letter(
    texts: tuple[str, ...], groups: list[list[int]]
) -> None:
    answers = votes_cast([(str(place), text) for place, text in enumerate(texts, start=1)])

    assert [[int(one) for one in group.response_ids] for group in count_votes(answers)] == groups


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("the bridge is safe to cross today", "the bridge is not safe to cross today"),
        ("it takes more than a fortnight", "it takes less than a fortnight"),
        ("they can cross the river there", "they can't cross the river there"),
        ("there were 12 of them in the house", "there were 13 of them in the house"),
    ],
)
def test_negations_bounds_and_numbers_keep_answers_apart(one: str, other: str) -> None:
    assert compare(one, other) != "same" and not may_mean_the_same(final_answer(one), final_answer(other))


PLUGIN = """
from consortium_mcp.engine.judging import JudgingMethod
from consortium_mcp.records import Verdict
from consortium_mcp.engine.strategies import Strategy, refine

def shout(run):
    return [ask.model_copy(update={"prompt": "LOUDER"}) for ask in refine(run)]

async def judge(run, iteration, call, reads_schema):
    verdict = Verdict(synthesis=iteration.responses[-1].text, confidence=1.0)
    return iteration.model_copy(update={"verdict": verdict})

loud = Strategy("loud", "Asks louder.", shout)
last = JudgingMethod("last", "The last one is right.", judge, needs_arbiter=False, calls=lambda instances: 0)
refine_again = Strategy("refine", "Takes our name.", shout)
"""

ENTRY_POINTS = """
[consortium_mcp.strategies]
loud = loud_plugin:loud
refine = loud_plugin:refine_again
[consortium_mcp.judging_methods]
last = loud_plugin:last
"""


BROKEN = """
[consortium_mcp.strategies]
gone = broken_plugin.no_such_module:gone
number = broken_plugin:number
debate = broken_plugin:taken
[consortium_mcp.judging_methods]
guess = broken_plugin:no_such_name
"""

BROKEN_PLUGIN = """
from consortium_mcp.engine.strategies import Strategy, refine
number = 7
taken = Strategy("debate", "Takes our name.", refine)
"""


@pytest.fixture
def loud(plugin_folder: Path) -> None:
    """A package with a strategy and a judging method is installed."""
    install_plugin(plugin_folder, "loud_plugin", PLUGIN, ENTRY_POINTS)


@pytest.fixture
def broken(plugin_folder: Path) -> None:
    """A package without any usable item is installed."""
    install_plugin(plugin_folder, "broken_plugin", BROKEN_PLUGIN, BROKEN)


@pytest.mark.usefixtures("loud")
def test_strategies_and_methods_of_other_packages_are_listed_and_ours_keep_their_names() -> None:
    listed = json.loads(run_command("strategies", "--json").stdout)

    assert listed["strategies"]["loud"] == "Asks louder."
    assert listed["judging_methods"]["last"] == "The last one is right."
    assert listed["strategies"]["refine"].startswith("Members get")


@pytest.mark.usefixtures("loud")
def test_strategies_and_methods_of_other_packages_can_be_consulted(provider: Provider) -> None:
    rules = ["--strategy", "loud", "--judging-method", "last", "--min-iterations", "2", "--max-iterations", "2"]

    done = run_command("consult", "Psst?", "-m", "a", "-m", "b", *rules)

    assert done.stdout == "answer of b\n"
    assert [request.prompt for request in provider.requests_to("a")] == ["Psst?", "LOUDER"]


@pytest.mark.usefixtures("broken", "loud")
def test_what_another_package_brings_broken_is_named_on_stderr_and_hides_nothing_else() -> None:
    done = run_command("strategies", "--json")

    listed = json.loads(done.stdout)
    assert list(listed["strategies"]) == [*OURS[0], "loud"]
    assert list(listed["judging_methods"]) == [*OURS[1], "last"]
    for said_of_it in (
        "The strategy 'gone' of broken-plugin is left out (ModuleNotFoundError: No module named 'broken_plugin.no_such",
        "The strategy 'number' of broken-plugin is left out (TypeError: broken_plugin:number is not a Strategy with",
        "The strategy 'debate' of broken-plugin is left out (ValueError: the name 'debate' is already taken)",
        "The strategy 'refine' of loud-plugin is left out (ValueError: the name 'refine' is already taken)",
        "The judging method 'guess' of broken-plugin is left out (AttributeError: module 'broken_plugin' has no",
    ):
        assert said_of_it in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("broken")
def test_consults_work_beside_a_broken_package(provider: Provider) -> None:
    provider.on("arbiter", verdict("Paris"))

    done = run_command("consult", "?", "-m", "a", "-m", "b", "--arbiter", "arbiter", "--strategy", "debate")

    assert (done.returncode, done.stdout) == (0, "Paris\n")
    assert "The strategy 'gone' of broken-plugin is left out" in done.stderr


@pytest.mark.usefixtures("broken")
def test_a_saved_consortium_that_names_something_broken_is_told_whose_it_is_and_why(
    provider: Provider, service: ConsortiumService
) -> None:
    service.store.consortiums.save.sync("panel", panel("a", judging_method="guess"))

    done = run_command("consult", "?", "--consortium", "panel")
    listed = run_command("list")

    why = (
        "There is no judging method 'guess'. There are: synthesize, pick, rank, peer_rank, vote, choose, "
        "review. The judging method of "
        "broken-plugin is left out (AttributeError: module 'broken_plugin' has no attribute 'no_such_name'); "
        "update that package."
    )
    assert (done.returncode, done.stderr.splitlines()[-1]) == (1, f"Error: {why}")
    assert f"cannot run: {why}" in listed.stdout and provider.count() == 0
