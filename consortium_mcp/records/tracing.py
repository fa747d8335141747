"""OpenTelemetry spans of runs, iterations and calls: ids, kinds and counts, never texts; none without configuration."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from opentelemetry import trace

from consortium_mcp.records import CallResult, CallSpec, Run

_tracer = trace.get_tracer("consortium_mcp")


def run_span(run: Run) -> AbstractContextManager[trace.Span]:
    """The span of the work on a run."""
    return _span("consortium run", {"consortium.run_id": run.run_id})


def iteration_span(run: Run, number: int) -> AbstractContextManager[trace.Span]:
    """The span of an iteration, within that of its run."""
    return _span("consortium iteration", {"consortium.run_id": run.run_id, "consortium.iteration": number})


def call_span(run: Run, spec: CallSpec, model: str, attempt: int) -> AbstractContextManager[trace.Span]:
    """The span of one attempt at a call, inside the span of its iteration.

    Args:
        model: the id of the called model; it may be a backup.
        attempt: the number of the attempt, from 1; 0 for one that could not be noted.
    """
    attributes: dict[str, str | int] = {
        "consortium.run_id": run.run_id,
        "consortium.call_id": spec.call_id,
        "consortium.attempt": attempt,
        "gen_ai.request.model": model,
    }
    return _span("consortium call", attributes)


def describe_run(span: trace.Span, run: Run) -> None:
    """Add the run's outcome and usage to its span."""
    span.set_attribute("consortium.status", run.status)
    span.set_attribute("consortium.calls", run.usage.calls)
    _describe_tokens(span, run.usage.input_tokens, run.usage.output_tokens)


def describe_call(span: trace.Span, result: CallResult) -> None:
    """Add the call's outcome and usage to its span."""
    if result.error_kind:
        span.set_attribute("error.type", result.error_kind)
        span.set_status(trace.StatusCode.ERROR)
    _describe_tokens(span, result.input_tokens, result.output_tokens)


@contextmanager
def _span(name: str, attributes: dict[str, str | int]) -> Iterator[trace.Span]:
    """A span that records only the class of an exception, because its message may contain a text."""
    span = _tracer.start_span(name, attributes=attributes)
    if not span.get_span_context().is_valid:  # no exporter is configured
        yield span
        return
    with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
        try:
            yield span
        except BaseException as error:
            span.set_attribute("error.type", type(error).__name__)
            span.set_status(trace.StatusCode.ERROR)
            raise


def _describe_tokens(span: trace.Span, input_tokens: int | None, output_tokens: int | None) -> None:
    if input_tokens is not None:
        span.set_attribute("gen_ai.usage.input_tokens", input_tokens)
    if output_tokens is not None:
        span.set_attribute("gen_ai.usage.output_tokens", output_tokens)
