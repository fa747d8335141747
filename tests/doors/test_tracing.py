"""Spans of runs, iterations and calls: nested, with ids, kinds and counts, and without any text."""

import importlib
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from consortium_mcp.records import tracing
from consortium_mcp.service.service import ConsortiumService
from tests.consulted import consulted
from tests.provider import Fault, Provider, Reply, verdict

pytestmark = pytest.mark.anyio


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Collects the spans of this test; the process's own provider can be set only once."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "_tracer", provider.get_tracer("consortium_mcp"))
    yield exporter
    provider.shutdown()


def spans_named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    """The finished spans of a name, in the order of their beginning."""
    return sorted(
        (one for one in exporter.get_finished_spans() if one.name == name), key=lambda one: one.start_time or 0
    )


async def test_a_run_its_iterations_and_its_calls_are_nested_spans(
    provider: Provider, service: ConsortiumService, exporter: InMemorySpanExporter
) -> None:
    provider.on("a", Reply("Blue.", "stop", 1_000, 100))
    provider.on("arbiter", lambda asked: verdict(f"draft {asked.model_number}", confidence=asked.model_number * 0.45))
    run = await consulted(service, "a", check_order=False)

    (whole,) = spans_named(exporter, "consortium run")
    iterations = spans_named(exporter, "consortium iteration")
    calls = spans_named(exporter, "consortium call")
    places = {one.context.span_id: number for number, one in enumerate(iterations, start=1) if one.context}
    assert (whole.attributes or {}) == {
        "consortium.run_id": run.run_id,
        "consortium.status": "converged",
        "consortium.calls": 4,
        "gen_ai.usage.input_tokens": run.usage.input_tokens,
        "gen_ai.usage.output_tokens": run.usage.output_tokens,
    }
    assert [one.parent and one.parent.span_id for one in iterations] == [whole.context and whole.context.span_id] * 2
    nested = [((one.attributes or {})["consortium.call_id"], places[one.parent.span_id]) for one in calls if one.parent]
    assert nested == [("i1/m1", 1), ("i1/arbiter", 1), ("i2/m1", 2), ("i2/arbiter", 2)]
    assert dict(calls[0].attributes or {}) == {
        "consortium.run_id": run.run_id,
        "consortium.call_id": "i1/m1",
        "consortium.attempt": 1,
        "gen_ai.request.model": "a",
        "gen_ai.usage.input_tokens": 1_000,
        "gen_ai.usage.output_tokens": 100,
    }


async def test_a_failed_call_has_its_kind_and_no_span_has_a_text(
    provider: Provider, service: ConsortiumService, exporter: InMemorySpanExporter
) -> None:
    provider.on("a", Fault.refused("echo", 401, None, "the provider's words"))
    provider.on("b", "the member's words")
    provider.on("arbiter", verdict("the arbiter's words"))
    await consulted(service, "a", "b", prompt="the caller's words")

    failed = [one for one in spans_named(exporter, "consortium call") if (one.attributes or {}).get("error.type")]
    assert [(one.attributes or {})["error.type"] for one in failed] == ["auth"]
    assert failed[0].status.status_code is trace.StatusCode.ERROR
    assert "words" not in "".join(one.to_json() for one in exporter.get_finished_spans())


async def test_what_breaks_a_run_is_named_by_its_class_alone(
    provider: Provider, service: ConsortiumService, exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the failure's words")

    monkeypatch.setattr(importlib.import_module("consortium_mcp.service.service"), "iterations", fail)
    with pytest.raises(RuntimeError):
        await consulted(service, "a")

    (whole,) = spans_named(exporter, "consortium run")
    assert (whole.attributes or {})["error.type"] == "RuntimeError"
    assert "words" not in whole.to_json()


async def test_without_a_provider_nothing_is_recorded(provider: Provider, service: ConsortiumService) -> None:
    with tracing.run_span(await consulted(service, "a")) as span:
        assert not span.is_recording()
