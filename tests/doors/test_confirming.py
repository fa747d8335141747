"""Asking the user before an overwrite or an expensive consult, in either protocol era."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from mcp import Client
from mcp.client import ClientRequestContext
from mcp_types import (
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitResult,
    TextContent,
)

from consortium_mcp._util.caller import calling
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import member
from tests.in_process import in_process
from tests.provider import Provider, Reply, tagged_verdict, verdict
from tests.scripted import panel
from tests.server_process import said, structured

pytestmark = pytest.mark.anyio

PRICED = "gpt-4o-mini"
"""A model that the price lists know."""

CONSULT = {"prompt": "Why?", "models": [PRICED], "arbiter": PRICED, "max_iterations": 1}
"""It may cost some half a cent."""


@pytest.fixture(params=["auto", "legacy"])
def mode(request: pytest.FixtureRequest) -> str:
    """The protocol era."""
    return str(request.param)


@pytest.fixture
def priced(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> Provider:
    """A provider that OpenAI's own models reach, too."""
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-the-tests")
    monkeypatch.setenv("OPENAI_BASE_URL", provider.url)
    provider.on(PRICED, member(Reply("Blue.", input_tokens=1_000, output_tokens=100), verdict("Because.")))
    return provider


class Person:
    """The user of a client, who gives every question the same answer, and remembers the questions."""

    def __init__(self, action: Literal["accept", "decline", "cancel"], **content: bool) -> None:
        self.asked: list[str] = []
        self._result = ElicitResult(action=action, content=dict(content) if action == "accept" else None)

    async def __call__(self, context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        assert isinstance(params, ElicitRequestFormParams) and "confirm" in params.requested_schema["properties"]
        self.asked.append(params.message)
        return self._result


@asynccontextmanager
async def with_person(
    mode: str, service: ConsortiumService, person: Person | None, **options: Any
) -> AsyncIterator[Client]:
    """A client whose user is asked; None for a client that cannot ask its user."""
    async with in_process(mode, service, elicitation_callback=person, **options) as client:
        yield client


# overwriting

TAKEN = {"name": "panel", "models": ["b"]}


@pytest.fixture
def taken(provider: Provider, service: ConsortiumService) -> ConsortiumService:
    """A store in which the name is taken."""
    service.store.consortiums.save.sync("panel", panel("a"))
    return service


def saved_model(service: ConsortiumService) -> str:
    """Who is asked by the saved consortium."""
    return service.store.consortiums.load.sync("panel").members[0].model


@pytest.mark.parametrize("content", [{"confirm": True}, {}])
async def test_a_person_that_agrees_lets_a_consortium_be_replaced(
    mode: str, content: dict[str, bool], taken: ConsortiumService
) -> None:
    person = Person("accept", **content)
    async with with_person(mode, taken, person) as client:
        structured(await client.call_tool("save_consortium", TAKEN))

    assert saved_model(taken) == "b"
    assert len(person.asked) == 1 and "panel: a:1" in person.asked[0]


@pytest.mark.parametrize(
    ("person", "why"),
    [
        (Person("decline"), "The user declined: 'panel' stays as it was saved."),
        (Person("cancel"), "The user cancelled: 'panel' stays as it was saved."),
        (Person("accept", confirm=False), "The user declined: 'panel' stays as it was saved."),
    ],
    ids=["declines", "cancels", "says no"],
)
async def test_a_person_that_does_not_agree_keeps_the_consortium(
    mode: str, person: Person, why: str, taken: ConsortiumService
) -> None:
    async with with_person(mode, taken, person) as client:
        result = await client.call_tool("save_consortium", TAKEN)

    assert result.is_error and said(result) == why
    assert saved_model(taken) == "a"


async def test_a_refusal_without_a_user_to_ask_names_overwrite(mode: str, taken: ConsortiumService) -> None:
    async with with_person(mode, taken, None) as client:
        result = await client.call_tool("save_consortium", TAKEN)

    assert result.is_error and "Give overwrite=true to replace it" in said(result)
    assert saved_model(taken) == "a"


@pytest.mark.parametrize("arguments", [{**TAKEN, "overwrite": True}, {**TAKEN, "name": "free"}])
async def test_the_user_is_not_asked_without_a_decision_to_make(
    mode: str, arguments: dict[str, Any], taken: ConsortiumService
) -> None:
    person = Person("decline")
    async with with_person(mode, taken, person) as client:
        structured(await client.call_tool("save_consortium", arguments))

    assert person.asked == []


async def test_the_user_is_not_asked_if_the_callers_own_only_hides_the_servers(taken: ConsortiumService) -> None:
    person = Person("decline")
    with calling("ann"):
        async with with_person("auto", taken, person) as client:
            structured(await client.call_tool("save_consortium", TAKEN))
        assert saved_model(taken) == "b"

    assert saved_model(taken) == "a" and person.asked == []


# spending


async def test_a_consult_that_may_cost_more_than_is_set_asks_first(
    mode: str, priced: Provider, open_service: Callable[..., ConsortiumService]
) -> None:
    person = Person("accept", confirm=True)
    async with with_person(mode, open_service(confirm_cost_usd=0.0001), person) as client:
        result = structured(await client.call_tool("consult_consortium", CONSULT))

    assert result["answer"] == "Because." and len(person.asked) == 1
    assert "above $0.0001 the user decides" in person.asked[0] and f"Would ask: {PRICED}" in person.asked[0]


@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_person_that_does_not_agree_spends_nothing(
    mode: str, action: Literal["decline", "cancel"], priced: Provider, open_service: Callable[..., ConsortiumService]
) -> None:
    async with with_person(mode, open_service(confirm_cost_usd=0.0001), Person(action)) as client:
        result = await client.call_tool("consult_consortium", CONSULT)

    assert result.is_error and said(result).endswith(": no model was asked and nothing was spent.")
    assert priced.count() == 0


async def test_a_refusal_without_a_user_to_ask_contains_the_plan(
    mode: str, priced: Provider, open_service: Callable[..., ConsortiumService]
) -> None:
    async with with_person(mode, open_service(confirm_cost_usd=0.0001), None) as client:
        result = await client.call_tool("consult_consortium", CONSULT)

    assert result.is_error and f"Would ask: {PRICED}" in said(result) and "max_cost_usd" in said(result)
    assert priced.count() == 0


@pytest.mark.parametrize(
    ("limit", "arguments"),
    [
        (None, CONSULT),
        (1.0, CONSULT),
        (0.004, {**CONSULT, "max_cost_usd": 0.004}),
        (0.0001, {**CONSULT, "dry_run": True}),
    ],
    ids=["off", "cheap", "bounded", "dry run"],
)
async def test_the_user_is_not_asked_about_a_consult_below_the_limit(
    limit: float | None, arguments: dict[str, Any], priced: Provider, open_service: Callable[..., ConsortiumService]
) -> None:
    person = Person("decline")
    async with with_person("auto", open_service(confirm_cost_usd=limit), person) as client:
        structured(await client.call_tool("consult_consortium", arguments))

    assert person.asked == []


async def test_a_price_that_is_unknown_is_the_persons_to_decide(
    mode: str, provider: Provider, open_service: Callable[..., ConsortiumService]
) -> None:
    person = Person("decline")
    async with with_person(mode, open_service(confirm_cost_usd=1), person) as client:
        await client.call_tool("consult_consortium", {"prompt": "?", "models": ["a"], "arbiter": "arbiter"})

    assert "cost of this consult is unknown" in person.asked[0] and provider.count() == 0


async def test_without_a_price_and_a_person_a_limit_of_calls_is_enough(
    mode: str, provider: Provider, open_service: Callable[..., ConsortiumService]
) -> None:
    provider.on("arbiter", verdict("Paris"))
    asked = {"prompt": "?", "models": ["a"], "arbiter": "arbiter", "max_iterations": 1}
    async with in_process(mode, open_service(confirm_cost_usd=1)) as client:
        refused = await client.call_tool("consult_consortium", asked)
        answered = await client.call_tool("consult_consortium", {**asked, "max_calls": 3})

    assert refused.is_error and "Give max_calls=3 once the user has agreed to this number of calls." in said(refused)
    assert not answered.is_error and provider.count() == 2


async def test_what_cannot_run_is_refused_before_anybody_is_asked(
    mode: str, provider: Provider, open_service: Callable[..., ConsortiumService]
) -> None:
    person = Person("accept", confirm=True)
    async with with_person(mode, open_service(confirm_cost_usd=0), person) as client:
        result = await client.call_tool("consult_consortium", {"prompt": "?", "models": ["nobody"]})

    assert result.is_error and "llm knows no model 'nobody'" in said(result) and person.asked == []


async def test_a_person_is_asked_once_where_the_client_also_lends_its_model(
    mode: str, priced: Provider, open_service: Callable[..., ConsortiumService]
) -> None:
    person = Person("accept", confirm=True)

    async def sample(context: ClientRequestContext, params: CreateMessageRequestParams) -> CreateMessageResult:
        judging = "--- response" in str(params.messages[-1].content)
        text = tagged_verdict("Ours.", confidence=0.9) if judging else "Mine."
        return CreateMessageResult(role="assistant", content=TextContent(type="text", text=text), model="host-model")

    service = open_service(confirm_cost_usd=0.0001)
    async with with_person(mode, service, person, sampling_callback=sample) as client:
        asked = {"prompt": "?", "models": [PRICED, "client"], "arbiter": "client"}
        result = structured(await client.call_tool("consult_consortium", asked))

    assert result["answer"] == "Ours." and len(person.asked) == 1
