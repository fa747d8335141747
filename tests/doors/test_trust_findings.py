"""The thirteen findings of what was said of an answer and was not so; `python -m tests.doors.test_trust_findings`."""

from collections.abc import Sequence

import pytest

from consortium_mcp.records import Rating, Run, Verdict
from consortium_mcp.reports.markdown import stats_text, transcript
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.service.stats import load_stats
from tests.consulted import consulted
from tests.provider import Provider, verdict

pytestmark = pytest.mark.anyio

DETAIL = "\n\nLet me know if you want more detail!"
WORKS = "\nThis works for every list."


async def voted(provider: Provider, service: ConsortiumService, texts: Sequence[str]) -> Verdict:
    """The verdict of a vote in which members say these texts."""
    for model, text in zip("abcde", texts, strict=False):
        provider.on(model, text)
    run = await consulted(service, *"abcde"[: len(texts)], judging_method="vote", max_iterations=1)
    found = run.iterations[0].verdict
    assert found is not None
    return found


# 1: a vote compares the wrong text


@pytest.mark.parametrize(
    ("texts", "answer", "votes"),
    [
        ([f"The capital is {city}.{DETAIL}" for city in ("Sydney", "Canberra", "Melbourne")], None, 1),
        (["Increase the rate now.", "Decrease the rate now.", "Decrease the rate now."], "Decrease the rate now.", 2),
        (
            ["It is legal in France.", "It is illegal in France.", "It is illegal in France."],
            "It is illegal in France.",
            2,
        ),
        ([f"```python\nreturn x {sign} 1\n```{WORKS}" for sign in "+-*"], None, 1),
        (["(a) 4 (b) 7", "(a) 5 (b) 8", "(a) 5, (b) 8"], "(a) 5 (b) 8", 2),
        (["Answer: −3", "Answer: 3", "Answer: 3"], "Answer: 3", 2),
        (["So:\n```\nx = 2\n```", "```\nx = 2\n```", "```\nx = 3\n```"], "So:\n```\nx = 2\n```", 2),
        (["Answer: 2 km", "Answer: 2000 m", "Answer: 2 miles"], "Answer: 2 km", 2),
    ],
    ids=["cities", "opposites", "prefixes", "code", "parts", "minus", "fences", "units"],
)
async def test_finding_1_a_vote_counts_what_the_answers_say(
    provider: Provider, service: ConsortiumService, texts: list[str], answer: str | None, votes: int
) -> None:
    found = await voted(provider, service, texts)

    assert len(found.votes[0].response_ids) == votes and found.confidence == pytest.approx(votes / 3)
    assert found.synthesis == (answer or texts[0])
    assert found.analysis.startswith("Majority: 2 of 3" if answer else "Tie: 3 answers have 1 of 3 votes each")


async def test_finding_1_a_member_that_failed_lowers_the_share(provider: Provider, service: ConsortiumService) -> None:
    found = await voted(provider, service, ["Answer: 7", "", ""])

    assert found.confidence == pytest.approx(1 / 3)
    assert found.analysis.endswith("2 of 3 cast no vote.")


# 2: measured agreement is inverted on free text


@pytest.mark.parametrize(
    ("texts", "agreement", "status"),
    [
        (("The bridge is safe to cross today.", "The bridge is not safe to cross today."), 0.0, "exhausted"),
        (("So it has to be, for all I know.\n\nAnswer: twelve", "Well.\n\nAnswer: 12"), 1.0, "converged"),
        (("It depends on how many there are.", "Take the second one if in doubt."), None, "exhausted"),
    ],
    ids=["contradiction", "other words", "not comparable"],
)
async def test_finding_2_agreement_is_measured_on_answers_or_unknown_and_never_ends_a_run_unknown(
    provider: Provider, service: ConsortiumService, texts: tuple[str, str], agreement: float | None, status: str
) -> None:
    for model, text in zip("ab", texts, strict=True):
        provider.on(model, text)
    provider.on("arbiter", verdict("x", confidence=0.9))

    run = await consulted(service, "a", "b", stop_on="agreement", max_iterations=1)

    measures = run.iterations[0].measures
    assert measures and (measures.agreement_across, run.status) == (agreement, status)
    assert ("agreement: unknown, because no two answers can be compared" in transcript(run)) is (agreement is None)


# 9: an iteration that improved the answer ends the run


LONG = "It goes on and on. " * 400


@pytest.mark.parametrize(
    ("first", "second", "is_new"),
    [
        ("```python\nreturn x + l\n```", "```python\nreturn x + 1\n```", True),
        ("```python\nif x:\n    a()\n    b()\n```", "```python\nif x:\n    a()\nb()\n```", True),
        (f"{LONG}The end.", f"{LONG}No end.", True),
        (f"{LONG}The end.", f"{LONG}\nThe  END.", False),
    ],
    ids=["a character of code", "an indentation", "a late change", "only blanks and case"],
)
async def test_finding_9_only_the_same_text_brings_nothing_new(
    provider: Provider, service: ConsortiumService, first: str, second: str, is_new: bool
) -> None:
    provider.on(
        "arbiter", [verdict(first, confidence=0.1), verdict(second, confidence=0.1), verdict("x", confidence=0.1)]
    )

    run: Run = await consulted(service, "a", "b", max_iterations=3)

    assert len(run.iterations) == (3 if is_new else 2)


# 12: remarks for the arbiter stay in the answer


async def test_finding_12_refusals_win_no_vote_and_thoughts_stay_out_of_the_answer(
    provider: Provider, service: ConsortiumService
) -> None:
    refusal = "I'm sorry, but I can't help with that."
    found = await voted(provider, service, [refusal, refusal, "<think>Or 8?</think>Answer: 7\nConfidence: 10%"])

    assert found.synthesis == "Answer: 7"
    assert found.confidence == pytest.approx(1 / 3)


# issue 19, 12: stats inverts its column `wrong` for prose


async def test_prose_that_cannot_be_compared_with_the_answer_is_not_counted_as_wrong(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on(
        "a", "It is a long story, which begins in the spring of the year and ends when all of the leaves are gone."
    )
    provider.on("b", "Answer: 12")
    provider.on("arbiter", verdict("Answer: twelve", confidence=0.9))
    run = await consulted(service, "a", "b", max_iterations=1)
    service.store.ratings.save.sync(Rating(run_id=run.run_id, score=1.0))

    members = {one.model: (one.wrong, one.not_comparable) for one in load_stats(service.store).members}
    assert members == {"a": (None, 1), "b": (0, 0)}
    assert "wrong unknown (1 not comparable)" in stats_text(load_stats(service.store))
