"""The figures of trust, each worked out by hand."""

import pytest

from consortium_mcp.engine.measures import agreement_for_threshold, agreement_text
from consortium_mcp.engine.track_record import correlation_among, error_correlation, pair_records, track_record
from consortium_mcp.engine.trust import earned, effective_votes, why_unreachable, with_trust
from consortium_mcp.records import Iteration, Measures, TrackRecord, Trust, Verdict
from consortium_mcp.records.trust import PairRecord
from consortium_mcp.text.figures import shown_beside
from tests.scripted import new_run, panel, response


def trusted(
    stated: float | None, *texts: str | None, answer: str = "Answer: 4", record: TrackRecord | None = None
) -> Trust:
    """The trust in an answer with these responses of members; None is a failure."""
    responses = tuple(response(place, text) for place, text in enumerate(texts, start=1))
    iteration = Iteration(number=1, responses=responses, verdict=Verdict(synthesis=answer, confidence=stated))
    found = with_trust(new_run(), iteration, record or TrackRecord()).trust
    assert found is not None
    return found


def test_votes_earn_what_krichevsky_and_trofimov_estimate() -> None:
    assert [earned(*votes) for votes in ((1, 1), (3, 3), (2, 3), (0, 3))] == [0.75, 0.875, 0.625, 0.125]


def test_correlated_votes_count_as_fewer() -> None:
    assert effective_votes(5, 0.0) == 5
    assert effective_votes(5, 1.0) == 1
    assert effective_votes(5, 0.5) == pytest.approx(5 / 3)


@pytest.mark.parametrize(
    ("texts", "confidence", "reason"),
    [
        (["Answer: 4", "Answer: four", "Answer: 5"], 0.625, "Only 2 of 3 members gave this answer."),
        (["Answer: 5", "Answer: 6", "Answer: 7"], 0.125, "No member gave this answer."),
        (["Answer: 4", None, None], 0.75, "Only one member's answer can be compared with it."),
        (["Answer: 4"] * 3, 0.875, "3 agreeing members can earn 0.88."),
        ([None, None, None], 0.99, None),
    ],
)
def test_the_confidence_is_bounded_by_those_who_gave_the_answer(
    texts: list[str | None], confidence: float, reason: str | None
) -> None:
    trust = trusted(0.99, *texts)

    assert trust.confidence == pytest.approx(confidence)
    assert (trust.bounded_by, trust.stated) == (reason, 0.99)


def test_a_response_that_declines_is_neither_for_an_answer_nor_against_it() -> None:
    decline = "I'm sorry, but I can't help with that."

    some, all_of_them = trusted(0.99, "Answer: 4", decline), trusted(0.9, decline, decline, answer=decline)

    assert (some.same, some.different, some.declined) == (1, 0, 1)
    assert (all_of_them.compared, all_of_them.declined, all_of_them.confidence) == (0, 2, 0.9)


@pytest.mark.parametrize(("shown", "later", "confidence"), [("Answer: 5", 2, 0.375), ("Answer: 4", None, 0.125)])
def test_an_answer_that_members_first_gave_in_a_later_iteration_counts_as_one(
    shown: str, later: int | None, confidence: float
) -> None:
    """The second time an arbiter had shown it to them, so that no member found it."""
    first = Iteration(
        number=1,
        responses=tuple(response(place, "Answer: 5") for place in (1, 2, 3)),
        verdict=Verdict(synthesis=shown, confidence=0.5),
    )
    second = Iteration(
        number=2,
        responses=tuple(response(place, "Answer: 4") for place in (1, 2, 3)),
        verdict=Verdict(synthesis="Answer: 4", confidence=0.99),
    )

    trust = with_trust(new_run().model_copy(update={"iterations": (first,)}), second, TrackRecord()).trust

    # (1 + 1/2) / (3 + 1), and (0 + 1/2) / (3 + 1)
    assert trust and (trust.found_later, trust.confidence) == (later, confidence)


def test_a_figure_below_its_limit_never_looks_like_it() -> None:
    assert shown_beside(0.875, 0.88) == ("0.875", "0.880")
    assert [shown_beside(*pair) for pair in ((0.9, 0.8), (0.8, 0.8), (0.875, 0.875))] == [
        ("0.90", "0.80"),
        ("0.80", "0.80"),
        ("0.88", "0.88"),
    ]


def test_an_agreement_of_few_pairs_says_so_and_ends_no_run() -> None:
    few, half = (Measures(agreement_across=1.0, pairs=10, compared=count) for count in (1, 5))

    assert (agreement_text(few), agreement_for_threshold(few)) == ("1.00 from only 1 of 10 pairs", None)
    assert (agreement_text(half), agreement_for_threshold(half)) == ("1.00 from 5 of 10 pairs", 1.0)
    assert agreement_text(Measures(agreement_across=0.5, pairs=3, compared=3)) == "0.50"


def test_a_low_or_unknown_figure_stays_as_it_is() -> None:
    low, unknown = trusted(0.3, "Answer: 4", "Answer: 4"), trusted(None, "Answer: 4", "Answer: 4")

    assert (low.confidence, low.bounded_by) == (0.3, None)
    assert (unknown.confidence, unknown.same) == (None, 2)


def test_ratings_are_shown_from_the_first_and_bound_from_the_tenth() -> None:
    few = trusted(0.85, *["Answer: 4"] * 3, record=TrackRecord(scores=((0.82, 1.0), (0.88, 0.0), (0.5, 0.0))))
    many = trusted(0.85, *["Answer: 4"] * 3, record=TrackRecord(scores=((0.85, 1.0), (0.85, 0.0)) * 8))

    assert few.rated and (few.rated.rated, few.rated.right, few.confidence) == (2, 1, 0.85)
    # (8 + 4 * 0.85) / (16 + 4) = 11.4 / 20
    assert many.confidence == pytest.approx(0.57) and many.bound == "ratings"
    assert many.bounded_by == "Of 16 rated answers at this level, 8 were right."


def test_members_that_err_together_count_as_fewer_votes() -> None:
    trust = trusted(0.99, *["Answer: 4"] * 3, record=TrackRecord(correlation=1.0))

    assert (trust.independent_votes, trust.confidence) == (1.0, 0.75)
    assert trust.bounded_by == "3 agreeing members count as 1.0 independent votes."


def test_the_correlation_of_errors_is_as_worked_out_by_hand() -> None:
    together = error_correlation([(0, 4)] * 7 + [(4, 4)] * 3)
    apart = error_correlation([(1, 2)] * 10)

    # p = 12/40 = 0.3, q = 3 * 12 / (10 * 12) = 0.3, so 1.0; pulled to 0 with 10 of 20
    assert together == pytest.approx(0.5) and apart == 0.0
    assert error_correlation([(1, 2)] * 9) is None and error_correlation([(0, 3)] * 20) is None


def test_a_track_record_is_made_of_scores_and_errors() -> None:
    right, wrong = Trust(before_ratings=0.8, same=3), Trust(before_ratings=0.9, same=3)

    record = track_record([(right, 1.0)] * 7 + [(wrong, 0.0)] * 3)

    assert record.scores == ((0.8, 1.0),) * 7 + ((0.9, 0.0),) * 3 and record.correlation == pytest.approx(0.5)


def test_the_correlation_of_each_pair_of_models_is_as_worked_out_by_hand() -> None:
    """Of 20 right answers, a and b both missed the first 5, and c missed 5 others; a:2 errs alike.

    pa = pb = pc = 1/4. Of a and b, both are wrong in 1/4, so phi = (1/4 - 1/16) / (3/16) = 1, shrunk by 20/30. Of a and
    c, both are wrong in 0, so phi is below 0, and counts as 0.
    """
    missed = {"a": range(5), "b": range(5), "c": range(5, 10)}
    rated = []
    for number in range(20):
        wrong = [model for model, numbers in missed.items() if number in numbers]
        right = [model for model in "abc" if model not in wrong]
        trust = Trust(same=len(right), different=len(wrong), same_by=tuple(right), different_by=tuple(wrong))
        rated.append((trust, 1.0))

    record = track_record(rated)

    pairs = {pair.models: (pair.runs, pair.correlation) for pair in record.pairs}
    assert pairs == {("a", "b"): (20, pytest.approx(2 / 3)), ("a", "c"): (20, 0.0), ("b", "c"): (20, 0.0)}
    assert correlation_among(record, ["b", "a"]) == pytest.approx(2 / 3)
    assert correlation_among(record, ["a", "b", "c"]) == pytest.approx(2 / 9)
    assert pair_records(rated[:9]) == ()


def test_an_answer_that_differs_from_a_wrong_one_is_unknown_and_not_right() -> None:
    """Ten runs with both known: 6 right, 2 in which b alone is wrong, 2 in which both are; and 5 of which b is unknown.

    Of all answers: p = 6/20, q = 2/10, so (0.2 - 0.09) / (0.3 - 0.09) = 11/21. Of the pair: pa = 0.2, pb = 0.4, both in
    0.2, so phi = (0.2 - 0.08) / sqrt(0.16 * 0.24) = 0.6124. Each is shrunk by 10/20.
    """
    agreed, split = Trust(same=2, same_by=("a", "b")), Trust(same=1, different=1, same_by=("a",), different_by=("b",))
    known = [(agreed, 1.0)] * 6 + [(split, 1.0)] * 2 + [(agreed, 0.0)] * 2

    record, always_wrong = track_record([*known, *[(split, 0.0)] * 5]), track_record([(split, 0.0)] * 20)

    assert record.correlation == pytest.approx(11 / 42) and track_record(known[1:]).correlation is None
    assert [pair.runs for pair in record.pairs] == [10]
    assert record.pairs[0].correlation == pytest.approx(0.3062, abs=1e-4)
    assert (always_wrong.correlation, always_wrong.pairs) == (None, ())


def test_no_correlation_counts_for_one_answer_alone() -> None:
    record = TrackRecord(correlation=0.2)

    one, one_of_two, two = (
        [(response(place, text, stated_confidence=0.3), text) for place, text in enumerate(texts, start=1)]
        for texts in (["Answer: 4"], ["Answer: 4", "Answer: 5"], ["Answer: 4", "Answer: 4"])
    )
    found = []
    for given in (one, one_of_two, two):
        verdict = Verdict(synthesis="Answer: 4", confidence=0.9)
        iteration = Iteration(number=1, responses=tuple(one for one, _ in given), verdict=verdict)
        trust = with_trust(new_run(), iteration, record).trust
        assert trust is not None
        found.append((trust.independent_votes is None, trust.bound, round(trust.confidence or 0.0, 4)))

    # two votes count as 2 / 1.2, which earn (5/3 + 1/2) / (5/3 + 1) = 13/16
    assert found == [(True, "members", 0.3), (False, "members", 0.3), (False, "agreement", 0.8125)]


def test_a_pair_without_a_record_has_the_correlation_of_its_consortium() -> None:
    pair = PairRecord(models=("a", "b"), runs=10, correlation=0.4)

    known, unknown = TrackRecord(correlation=0.1, pairs=(pair,)), TrackRecord(pairs=(pair,))

    # (0.4 + 0.1 + 0.1) / 3, and of a, b, b: (0.4 + 0.4 + 0.1) / 3
    assert correlation_among(known, ["a", "b", "c"]) == pytest.approx(0.2)
    assert correlation_among(known, ["a", "b", "b"]) == pytest.approx(0.3)
    assert correlation_among(unknown, ["a", "b", "c"]) is None and correlation_among(unknown, ["b", "a"]) == 0.4


@pytest.mark.parametrize(
    ("members", "rules", "reached"),
    [
        ("a", {}, False),
        ("ab", {}, True),  # 2.5 / 3 = 0.83
        ("abc", {"confidence_threshold": 0.9}, False),
        ("abcd", {"confidence_threshold": 0.9}, True),
        ("a", {"stop_on": "agreement"}, True),
    ],
)
def test_a_threshold_that_no_agreement_reaches_is_known(members: str, rules: dict[str, object], reached: bool) -> None:
    assert (why_unreachable(panel(*members, **rules)) is None) is reached
