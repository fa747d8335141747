"""Every fault of a provider, over real HTTP, as a member and as the arbiter: the message, the record and the counts."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import pytest

from consortium_mcp import consult
from consortium_mcp._util.timing import Timing
from consortium_mcp.errors import RunFailedError
from consortium_mcp.records import ErrorKind
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import WITHOUT_WAITS, attempts, consulted, kinds, member, stored_kind
from tests.provider import Fault, Provider, verdict
from tests.server_process import connected, said, structured

OpenService = Callable[..., ConsortiumService]

SHORT = 1.5
"""A call timeout that a healthy model of these tests always keeps."""


@dataclass(frozen=True)
class Row:
    """One fault and its expected result."""

    name: str
    fault: Fault | None
    """The model's fault; None means that its port has no listener."""
    kind: ErrorKind
    """The stored kind, of the call and of each attempt."""
    attempts: int
    """The number of attempts."""
    reads: str
    """The message that the caller reads."""
    call_timeout: float | None = None
    """A setting of this row; None means the default."""

    def __str__(self) -> str:
        return self.name

    @property
    def requests(self) -> int:
        """How many requests the provider counts."""
        return 0 if self.fault is None else self.attempts


# fmt: off
FAULTS = [
    #   fault                  how it is made                      kind stored          tried  what the caller reads
    Row("429",                 Fault.rate_limit(),                 "rate_limit",        3, "Rate limit reached"),
    Row("429, 50 ms",          Fault.rate_limit(0.05),             "rate_limit",        3, "Rate limit reached"),
    Row("429, an hour",        Fault.rate_limit(3600),             "rate_limit",        1, "Try again in 3600 s"),
    Row("429, no money",       Fault.billing(),                    "billing",           1, "your current quota"),
    Row("500",                 Fault.server_error(500),            "server",            3, "Error code: 500"),
    Row("503",                 Fault.server_error(503),            "server",            3, "Error code: 503"),
    Row("connection refused",  None,                               "network",           3, "Connection error"),
    Row("reset mid-stream",    Fault.reset_mid_stream(),           "network",           3, "network, "),
    Row("hang",                Fault.hang(),                       "timeout",           1, "No full reply", SHORT),
    Row("hang mid-stream",     Fault.hang(after_chunks=2),         "timeout",           1, "No full reply", SHORT),
    Row("one byte a second",   Fault.slow(),                       "timeout",           1, "No full reply", SHORT),
    Row("garbage",             Fault.garbage(),                    "invalid_reply",     2, "sent a web page"),
    Row("garbled stream",      Fault.garbled_stream(),             "invalid_reply",     2, "invalid_reply, "),
    Row("error in the stream", Fault.error_in_stream(),            "server",            3, "Provider disconnected"),
    Row("empty answer",        Fault.empty(),                      "empty",             2, "gave an empty reply"),
    Row("content filter",      Fault.content_filter("half of it"), "content_filter",    1, "withheld the reply"),
    Row("wrong key",           Fault.wrong_key(),                  "auth",              1, "Incorrect API key"),
    Row("unknown model",       Fault.unknown_model(),              "model_unavailable", 1, "does not exist"),
    Row("context too long",    Fault.context_length(),             "context_length",    1, "maximum context length"),
]
# fmt: on

by_fault = pytest.mark.parametrize("row", FAULTS, ids=str)


@pytest.fixture
def waits() -> list[float]:
    """The wait before each further attempt, in seconds."""
    return []


@pytest.fixture
def timing(waits: list[float]) -> Timing:
    """Further attempts follow at once, unless a provider asks for a wait; `waits` has each."""

    async def note(seconds: float) -> None:
        waits.append(seconds)
        await anyio.sleep(seconds)

    return replace(WITHOUT_WAITS, pause=note)


def broken_model(provider: Provider, llm_home: Path, model: str, row: Row) -> str:
    """Make a model fail as the row says; returns the model's name."""
    if row.fault is None:
        provider.write_llm_config(llm_home, ["a", "b"], schema=["arbiter"], refused=["gone"])
        return "gone"
    provider.on(model, row.fault)
    return model


@by_fault
async def test_a_fault_of_a_member(provider: Provider, llm_home: Path, open_service: OpenService, row: Row) -> None:
    service = open_service(call_timeout_seconds=row.call_timeout)
    provider.on("arbiter", verdict("from b alone"))
    broken = broken_model(provider, llm_home, "a", row)

    run = await consulted(service, broken, "b")

    (sentence,) = run.degraded
    assert run.answer == "from b alone"
    assert sentence.startswith(f"1 of 2 instances gave no response ({broken}#1: {row.kind}, ")
    assert row.reads in sentence
    assert stored_kind(service, run, "i1/m1") == run.iterations[0].responses[0].error_kind == row.kind
    assert kinds(service, run, "i1/m1") == [row.kind] * row.attempts
    assert provider.count(broken) == row.requests


@by_fault
async def test_B7_a_fault_of_the_arbiter(
    provider: Provider, llm_home: Path, open_service: OpenService, row: Row
) -> None:
    service = open_service(call_timeout_seconds=row.call_timeout)
    provider.on("a", member("Blue."))
    broken = broken_model(provider, llm_home, "arbiter", row)

    run = await consulted(service, "a", "b", arbiter=broken)

    (sentence,) = run.degraded
    assert run.answer == "judged by a member" and run.iterations[0].judged_by == "a"
    assert sentence.startswith(f"The arbiter {broken} failed (")
    assert sentence.endswith("; a, a member, judged in its place.")
    assert row.reads.removeprefix(f"{row.kind}, ") in sentence
    assert stored_kind(service, run, "i1/arbiter") == row.kind
    assert kinds(service, run, "i1/arbiter") == [row.kind] * row.attempts
    assert provider.count(broken) == row.requests


async def test_B31_an_empty_verdict_is_no_answer(provider: Provider, service: ConsortiumService) -> None:
    provider.on("a", member("Blue."))
    provider.on("arbiter", Fault.empty())

    run = await consulted(service, "a", "b")

    assert run.answer == "judged by a member" and run.degraded[0].startswith("The arbiter arbiter failed (")


async def test_a_truncated_answer_of_a_member_is_used_and_said(provider: Provider, service: ConsortiumService) -> None:
    provider.on("a", Fault.truncated())
    provider.on("arbiter", verdict("from both"))

    run = await consulted(service, "a", "b")

    assert (run.answer, run.degraded) == ("from both", ("Cut at their length limit: a#1.",))
    assert kinds(service, run, "i1/m1") == [stored_kind(service, run, "i1/m1")] == ["truncated"]
    assert provider.count("a") == 1 and "This answer stops in the" in provider.requests_to("arbiter")[0].prompt


async def test_a_truncated_verdict_is_asked_for_again_and_what_is_left_of_it_is_marked(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", Fault.truncated())

    run = await consulted(service, "a", "b")

    assert run.answer == "This answer stops in the" and run.confidence is None
    assert "cut at its length limit" in run.degraded[0]
    assert kinds(service, run, "i1/arbiter") == ["truncated"]
    assert provider.count("arbiter") == 2


async def test_a_verdict_that_can_be_read_and_was_cut_says_so(provider: Provider, service: ConsortiumService) -> None:
    provider.on("arbiter", Fault.truncated(verdict("It is 42.")))

    run = await consulted(service, "a", "b", max_iterations=1)

    assert (run.answer, run.confidence is None) == ("It is 42.", False)
    assert run.degraded == ("The verdict could not be read in full: the reply was cut at its length limit.",)


async def test_B6_a_fault_that_passes_leaves_nothing_but_its_attempts(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", [Fault.server_error(503), Fault.rate_limit(), "Blue."])
    provider.on("arbiter", [Fault.reset_mid_stream(), verdict("Blue, all say.")])

    run = await consulted(service, "a", "b")

    assert (run.answer, run.degraded) == ("Blue, all say.", ())
    assert kinds(service, run, "i1/m1") == ["server", "rate_limit", None]
    assert kinds(service, run, "i1/arbiter") == ["network", None]
    assert run.usage.calls == provider.count() == 6


async def test_when_all_fail_the_caller_reads_why_of_each(provider: Provider) -> None:
    provider.on("a", Fault.rate_limit(3600))
    provider.on("b", Fault.context_length())

    with pytest.raises(
        RunFailedError, match=r"a#1: rate_limit, .*Try again in 3600 seconds.*b#1: context_length, .*load_run"
    ):
        await consult("Why?", models=["a", "b"], arbiter="arbiter")

    assert (provider.count("a"), provider.count("b"), provider.count("arbiter")) == (1, 1, 0)


# through a client


async def test_a_client_reads_first_what_a_members_fault_took_away(provider: Provider, tmp_path: Path) -> None:
    provider.on("a", Fault.wrong_key())
    provider.on("arbiter", verdict("from b alone"))

    async with connected("auto", tmp_path / "stderr") as client:
        arguments = {"prompt": "?", "models": ["a", "b"], "arbiter": "arbiter"}
        result = await client.call_tool("consult_consortium", arguments)

    first, trust, _, answer = said(result).splitlines()[:4]
    assert first.startswith("Incomplete: 1 of 2 instances gave no response (a#1: auth, ") and answer == "from b alone"
    assert trust.startswith("Trust: 0.90, as stated.") and "; missing: a#1." in trust
    assert [one["error_kind"] for one in structured(result)["responses"]] == ["auth", None]


async def test_a_client_reads_first_that_another_judged_and_who_answered(provider: Provider, tmp_path: Path) -> None:
    provider.on("arbiter", Fault.context_length())
    provider.on("a", Fault.unknown_model())
    provider.on("b", member("Blue."))

    async with connected("auto", tmp_path / "stderr") as client:
        arguments = {"prompt": "?", "models": ["a|b", "c"], "arbiter": "arbiter"}
        result = await client.call_tool("consult_consortium", arguments)

    assert said(result).startswith("Incomplete: The arbiter arbiter failed (Error code: 400 - ")
    assert [one["answered_by"] for one in structured(result)["responses"]] == ["b", None]


async def test_a_client_reads_an_error_when_no_member_answers(provider: Provider, tmp_path: Path) -> None:
    provider.on("a", Fault.rate_limit(3600))

    async with connected("auto", tmp_path / "stderr") as client:
        result = await client.call_tool("consult_consortium", {"prompt": "?", "models": ["a"], "arbiter": "arbiter"})

    assert result.is_error
    assert "a#1: rate_limit, " in said(result) and "Try again in 3600 seconds" in said(result)


# Retry-After


async def test_B6_retry_after_is_honoured(provider: Provider, service: ConsortiumService, waits: list[float]) -> None:
    provider.on("a", [Fault.rate_limit(0.2), Fault.rate_limit(0.1), "Blue."])
    provider.on("arbiter", verdict())

    run = await consulted(service, "a")

    assert run.degraded == ()
    assert waits == pytest.approx([0.2, 0.1])


async def test_B6_a_wait_grows_and_varies_where_the_provider_does_not_say(
    provider: Provider, service: ConsortiumService, waits: list[float]
) -> None:
    service.timing = replace(service.timing, first_retry=0.02, retry_jitter=0.01)
    provider.on("a", Fault.server_error())
    provider.on("arbiter", verdict())

    await consulted(service, "a", "b")

    first, second = waits
    assert 0.02 <= first <= 0.03 and 0.04 <= second <= 0.05


@pytest.mark.parametrize("seconds", [3600, 39600])
async def test_a_provider_that_asks_for_long_is_not_waited_for_and_the_record_says_when_to_come_back(
    provider: Provider, service: ConsortiumService, waits: list[float], seconds: int
) -> None:
    provider.on("a", Fault.rate_limit(seconds))
    provider.on("arbiter", verdict())

    run = await consulted(service, "a", "b")

    assert run.iterations[0].responses[0].retry_after_seconds == seconds
    assert f"Try again in {seconds} seconds. This call cannot wait that long" in run.degraded[0]
    assert (waits, provider.count("a")) == ([], 1)


async def test_a_wait_that_does_not_fit_into_the_calls_time_is_not_begun(
    provider: Provider, open_service: OpenService, waits: list[float]
) -> None:
    provider.on("a", Fault.rate_limit(20))
    provider.on("arbiter", verdict())

    await consulted(open_service(call_timeout_seconds=10), "a", "b")

    assert (waits, provider.count("a")) == ([], 1)


# backups and stand-ins


@pytest.mark.parametrize(
    ("fault", "tried"), [(Fault.wrong_key(), 1), (Fault.server_error(), 3), (Fault.empty(), 2)], ids=str
)
async def test_a_backup_answers_where_the_first_cannot_and_the_response_says_so(
    provider: Provider, service: ConsortiumService, fault: Fault, tried: int
) -> None:
    provider.on("a", fault)
    provider.on("arbiter", verdict())

    run = await consulted(service, "a|b")

    response = run.iterations[0].responses[0]
    assert (response.text, response.answered_by, response.label) == ("answer of b", "b", "a#1")
    assert run.degraded == ()
    assert (provider.count("a"), provider.count("b")) == (tried, 1)


async def test_a_backup_is_not_asked_where_the_first_answers(provider: Provider, service: ConsortiumService) -> None:
    provider.on("arbiter", verdict())

    run = await consulted(service, "a|b")

    assert (run.iterations[0].responses[0].answered_by, provider.count("b")) == (None, 0)


async def test_where_all_backups_fail_the_last_failure_stands_and_every_attempt_is_recorded(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("a", Fault.wrong_key())
    provider.on("b", Fault.server_error())
    provider.on("c", Fault.context_length())
    provider.on("arbiter", verdict())

    run = await consulted(service, "a|b|c", "d")

    assert run.iterations[0].responses[0].error_kind == "context_length"
    assert kinds(service, run, "i1/m1") == ["auth", "server", "server", "server", "context_length"]


async def test_the_arbiters_backup_judges_and_the_answer_says_so(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", Fault.wrong_key())
    provider.on("c", verdict("judged by c"))

    run = await consulted(service, "a", "b", arbiter="arbiter|c")

    assert (run.answer, run.iterations[0].judged_by) == ("judged by c", "c")
    assert run.degraded == ("The arbiter arbiter could not answer; its backup c judged in its place.",)


async def test_when_the_arbiters_backup_fails_too_the_member_that_the_others_agree_with_judges(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", Fault.wrong_key())
    provider.on("c", Fault.context_length())
    provider.on("a", member("Answer: 5\nConfidence: 99%"))
    provider.on("b", member("Answer: 4\nConfidence: 40%", judging=verdict("judged by b")))
    provider.on("d", member("Answer: 4\nConfidence: 30%"))

    run = await consulted(service, "a", "b", "d", arbiter="arbiter|c", max_iterations=1)

    sentence = run.degraded[0]
    assert (run.answer, run.iterations[0].judged_by) == ("judged by b", "b")
    assert sentence.startswith("The arbiter arbiter|c failed (") and "b, a member, judged" in sentence


async def test_a_model_that_failed_as_the_arbiters_backup_is_not_asked_again_as_a_member(
    provider: Provider, service: ConsortiumService
) -> None:
    provider.on("arbiter", Fault.wrong_key())
    provider.on("a", member("Blue.\nConfidence: 90%", judging=Fault.context_length()))
    provider.on("b", member("Green.\nConfidence: 10%", judging=verdict("judged by b")))

    run = await consulted(service, "a", "b", arbiter="arbiter|a")

    assert (run.answer, provider.count("a")) == ("judged by b", 2)


async def test_without_a_judge_the_response_that_the_others_agree_with_most_is_the_answer(
    provider: Provider, service: ConsortiumService
) -> None:
    down = Fault.context_length()
    provider.on("arbiter", Fault.wrong_key())
    provider.on("a", member("the sky is green", judging=down))
    provider.on("b", member("The sky is blue.", judging=down))
    provider.on("c", member("the sky is blue", judging=down))

    run = await consulted(service, "a", "b", "c")

    first = run.degraded[0]
    assert run.answer == "The sky is blue." and run.confidence is None
    assert first.startswith("The arbiter arbiter gave no verdict (") and "this is the response of b#1, which" in first
    assert "Incorrect API key" in first and "maximum context length" in first
    assert (provider.count("arbiter"), len(attempts(service, run, "i1/arbiter/standin"))) == (1, 1)


def test_the_table_names_every_fault_of_the_tests_provider() -> None:
    made = {name for name in vars(Fault) if isinstance(vars(Fault)[name], staticmethod)} - {"refused"}
    shown = {row.fault.name.partition("_5")[0] for row in FAULTS if row.fault}

    assert made - shown == {"truncated"}
