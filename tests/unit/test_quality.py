"""Judging has its predicted quality on simulated members; the report shows predicted and measured figures."""

import random
from collections.abc import Callable
from itertools import product
from math import prod
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.quality.__main__ import main
from benchmarks.quality.evaluate import Result, Side, check, evaluate, single, temporary_consultancy
from benchmarks.quality.phrasing import PHRASES, REFUSALS, phrased
from benchmarks.quality.predicted import best_possible, majority, peer_ranking, plurality, predicted, wilson
from benchmarks.quality.questions import make_questions
from benchmarks.quality.sides import simulated_sides
from benchmarks.quality.simulated import Simulated, Simulation, registered
from benchmarks.quality.trust import RATED, brier, optimum, rows
from consortium_mcp.engine.judging.peer_rank import borda
from consortium_mcp.errors import ModelUnavailableError

pytestmark = pytest.mark.slow

SEED = 2026
"""One sample: 95 of 100 seeds keep within every single interval, which has a test of its own."""

QUESTIONS = 140
AT_ONCE = 4


async def measured(simulation: Simulation, method: str, count: int = QUESTIONS) -> list[Result]:
    """A single member and all of them under a judging method, once for each of its arbiters."""
    questions = make_questions(count, simulation.seed)
    with temporary_consultancy(own_llm_folder=True) as service, registered(simulation, questions):
        return [await evaluate(service, side, questions, AT_ONCE) for side in simulated_sides(simulation, [method])]


def test_the_binomial_predicts_what_a_majority_of_five_is_worth() -> None:
    assert majority(5, 0.7) == pytest.approx(0.83692)
    assert plurality(5, 0.7, alternatives=1) == pytest.approx(0.83692)
    assert best_possible(5, 0.7) == pytest.approx(1 - 0.3**5)


@pytest.mark.parametrize(("members", "alternatives"), [(3, 2), (4, 3), (5, 4)])
def test_the_predicted_plurality_is_that_of_every_possible_ballot(members: int, alternatives: int) -> None:
    chances = [0.6] + [0.4 / alternatives] * alternatives
    total = 0.0
    for answers in product(range(alternatives + 1), repeat=members):
        counts = [answers.count(answer) for answer in range(alternatives + 1)]
        first = max(answers, key=answers.count)  # of equals the one that was declared first
        total += prod(chances[answer] for answer in answers) * (first == 0 and counts[0] == max(counts))
    assert plurality(members, 0.6, alternatives) == pytest.approx(total)


def test_the_predicted_peer_ranking_is_what_the_borda_counts_of_drawn_ballots_come_to() -> None:
    chance, right, asked = random.Random(1), 0, 6000
    for _ in range(asked):
        is_right = {name: chance.random() < 0.7 for name in "abcd"}
        ballots = {name: drawn_ballot(chance, name, is_right.__getitem__) for name in "abcd"}
        scores = borda(ballots, list("abcd"))
        right += is_right[max("abcd", key=lambda name: scores[name] or 0.0)]

    assert wilson(right, asked).holds(peer_ranking(4, 0.7, 0.5) or 0.0)


def drawn_ballot(chance: random.Random, voter: str, is_right: Callable[[str], bool]) -> list[str]:
    """The others in any order; half of the time with the right ones first."""
    others = [name for name in "abcd" if name != voter]
    chance.shuffle(others)
    return sorted(others, key=is_right, reverse=True) if chance.random() < 0.5 else others


def test_perfect_peers_find_a_right_response_and_random_ones_are_worth_a_single_member() -> None:
    assert peer_ranking(5, 0.7, 1.0) == pytest.approx(best_possible(5, 0.7))
    assert peer_ranking(5, 0.7, 0.0) == pytest.approx(0.7)


def test_wilsons_interval_is_the_published_one() -> None:
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I


def test_the_interval_of_a_sample_holds_the_predicted_accuracy_for_95_of_100_seeds() -> None:
    held = sum(majority_in_interval(seed) for seed in range(100))

    assert wilson(held, 100, z=2.58).holds(0.95)


def majority_in_interval(seed: int) -> bool:
    """Whether a majority of simulated members, drawn without any consult, is within its interval."""
    simulation = Simulation(seed=seed)
    (question,) = make_questions(1)
    asked = [question.model_copy(update={"prompt": str(number)}) for number in range(60)]
    known = {question.prompt: question for question in asked}
    members = [Simulated(name, "knows", simulation, known) for name in simulation.member_names]
    right = [[question.is_right(member.reply(question.prompt, None)) for member in members] for question in asked]
    return wilson(sum(sum(given) > 2 for given in right), len(asked)).holds(majority(5, 0.7))


@pytest.mark.parametrize("method", ["vote", "peer_rank", "synthesize"])
async def test_independent_members_reach_the_predicted_accuracy(method: str) -> None:
    results = await measured(Simulation(seed=SEED), method)

    for result in results:
        assert result.side.predicted is not None and result.interval.holds(result.side.predicted), result.side.name
    assert max(result.accuracy for result in results[1:]) > results[0].accuracy


@pytest.mark.parametrize("method", ["vote", "peer_rank", "synthesize"])
async def test_with_fully_correlated_errors_no_method_is_right_more_often_than_a_single_member(method: str) -> None:
    results = await measured(Simulation(correlation=1.0, seed=SEED), method, QUESTIONS // 2)

    assert [result.side.predicted for result in results] == [pytest.approx(0.7)] * len(results)
    assert {result.accuracy for result in results} == {results[0].accuracy}
    assert results[0].interval.holds(0.7)


async def test_questions_without_time_are_left_out() -> None:
    simulation, left = Simulation(seed=SEED), iter([60.0, 60.0, 0.0, -1.0])
    questions = make_questions(4, SEED)
    with temporary_consultancy(own_llm_folder=True) as service, registered(simulation, questions):
        side = simulated_sides(simulation, [])[0]
        result = await evaluate(service, side, questions, 1, lambda: next(left))

    assert len(result.answers) == 2 and all(one.answered for one in result.answers)


async def test_spread_errors_make_a_vote_worth_more_and_that_is_predicted() -> None:
    _, vote = await measured(Simulation(alternatives=4, seed=SEED), "vote", QUESTIONS // 2)

    assert predicted(Simulation(alternatives=4), "vote") == pytest.approx(0.92427, abs=1e-5)
    assert vote.interval.holds(0.92427) and not vote.interval.holds(0.7)


@pytest.mark.parametrize("method", ["synthesize", "pick", "rank", "peer_rank"])
async def test_simulated_models_say_the_same_every_time_in_json_and_in_tags(method: str) -> None:
    runs = [await measured(Simulation(supports_schema=schema), method, 12) for schema in (True, True, False)]

    said = [[[one.right for one in result.answers] for result in results] for results in runs]
    assert said[0] == said[1] == said[2]
    assert all(one.answered and one.calls <= 10 for results in runs for result in results for one in result.answers)


def test_questions_of_a_seed_are_always_the_same_and_their_answers_can_be_told_apart() -> None:
    questions = make_questions(900, seed=5)

    assert questions[:300] == make_questions(300, seed=5)
    assert len({question.prompt for question in questions}) == 900
    for question in questions:
        assert question.is_right(f"It is so.\nAnswer: {question.answer}\nConfidence: 70%")
        assert not any(question.is_right(f"Answer: {wrong}") for wrong in question.wrong)


@pytest.mark.parametrize(
    ("reply", "right"),
    [("17 + 25 = 42", True), ("**42**", True), ("The answer is 42.", True), ("Answer: 41", False), ("", False)],
)
def test_a_reply_is_right_when_its_last_number_is(reply: str, right: bool) -> None:
    question = make_questions(1)[0].model_copy(update={"answer": "42"})
    assert question.is_right(reply) is right


@pytest.mark.parametrize(
    ("reply", "right"),
    [
        ("B", True),
        ("Answer: B) 17", True),
        ("(b)", True),
        ("It is so.\n17", True),
        ("Answer: C", False),
        ("A b", False),
    ],
)
def test_a_choice_is_right_by_its_letter_or_its_text(reply: str, right: bool) -> None:
    question = make_questions(1)[0].model_copy(update={"answer": "B", "also": "17"})
    assert question.is_right(reply) is right


def test_the_report_prints_predicted_and_measured_side_by_side_and_leaves_nothing_behind(llm_home: Path) -> None:
    asked = ["--questions", "5", "--judging-method", "vote", "--correlation", "0"]
    shown = CliRunner().invoke(main, asked)

    assert shown.exit_code == 0, shown.output
    header = next(line for line in shown.output.splitlines() if line.startswith("| side"))
    vote = [line for line in shown.output.splitlines() if line.startswith("| vote")]
    assert [cell.strip() for cell in header.split("|")][2:6] == ["right", "accuracy", "95 % interval", "predicted"]
    assert "/5 " in vote[0] and "0.837" in vote[0]
    assert "right when it stated" in shown.output
    assert list(llm_home.iterdir()) == []


def test_an_unknown_method_or_model_is_refused_before_anybody_is_asked() -> None:
    shown = CliRunner().invoke(main, ["--judging-method", "dice"])
    assert shown.exit_code == 1 and "There is no judging method 'dice'" in shown.output
    with temporary_consultancy(own_llm_folder=True) as service, pytest.raises(ModelUnavailableError, match="nobody"):
        check(service, [Side(name="nobody", consortium=single("nobody"))])


# trust


def test_the_optimum_is_what_bayes_rule_says_of_two_members() -> None:
    # Of two independent members with 0.7: both right 0.49, both wrong 0.09; a tie 0.42.
    best, squares = optimum(Simulation(members=2, accuracy=0.7, correlation=0.0))

    assert best == pytest.approx(0.49 + 0.21)
    assert squares == pytest.approx(0.49 * 0.09 / 0.58 + 0.42 * 0.25)
    assert optimum(Simulation(members=5, accuracy=0.7, correlation=1.0)) == pytest.approx((0.7, 0.21))


def test_members_phrase_their_answers_in_twenty_ways_and_each_is_read() -> None:
    questions = make_questions(9)

    assert len(PHRASES) >= 20
    for question, number in product(questions, range(len(PHRASES))):
        text = phrased(number, question.answer, question.wrong[0])
        assert question.is_right(text) and not question.is_right(phrased(number, question.wrong[0], question.answer))


def test_simulated_members_lie_refuse_and_err_in_families() -> None:
    simulation = Simulation(members=4, accuracy=0.5, correlation=1.0, families=2, refusals=0.5, liars=0.5)
    questions = make_questions(80)
    known = {question.prompt: question for question in questions}
    members = [Simulated(name, "knows", simulation, known) for name in simulation.member_names]
    said = [[member.reply(question.prompt, None) for member in members] for question in questions]

    right = [[question.is_right(text) for text in texts] for question, texts in zip(questions, said, strict=True)]
    assert all(one[0] == one[2] and one[1] == one[3] for one in right) and any(one[0] != one[1] for one in right)
    assert any(text in REFUSALS for texts in said for text in texts)
    assert any("Confidence: 99%" in text for texts in said for text in texts)


async def test_no_method_is_worse_calibrated_than_its_members_alone_though_they_lie_and_err_together() -> None:
    simulation = Simulation(members=3, accuracy=0.6, correlation=1.0, refusals=0.1, liars=0.5, seed=SEED)

    single, *methods = await rows(simulation, make_questions(RATED + 100, SEED), ["vote", "pick"])

    assert methods and all(brier(row.unrated) <= brier(single.unrated) for row in methods)
    assert all(brier(row.rated) <= brier(single.rated) for row in methods)
