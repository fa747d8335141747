"""Judging: builds the arbiter's question and reads its verdict, side by side."""

import json
import random
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from consortium_mcp.confidence import Confidence, read_confidence
from consortium_mcp.members import Caller
from consortium_mcp.run import CallResult, CallSpec, Iteration, MemberResponse, Run, Verdict
from consortium_mcp.texts import clip, fill
from consortium_mcp.thinking import strip_thinking

JUDGING_METHODS = {"synthesize": "The arbiter combines the responses into one answer and says how far to trust it."}
"""Every judging method by the name that a consortium gives, with one sentence on what it does."""

VERDICT_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "synthesis": {
            "type": "string",
            "description": "The best answer to the prompt, complete in itself; keep what is right, drop what is wrong.",
        },
        "confidence": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "How likely the synthesis is right and complete.",
        },
        "analysis": {"type": "string", "description": "Why you decided so, in one to three sentences."},
        "dissent": {
            "type": "string",
            "description": "What a response holds against the synthesis and may be right about; empty if nothing.",
        },
        "needs_iteration": {
            "type": "boolean",
            "description": "True only if asking the models again would make the answer better.",
        },
        "refinement_areas": {
            "type": "array",
            "items": {"type": "string"},
            "description": "What they should work on then; empty if nothing.",
        },
    },
    "required": ["synthesis", "confidence", "analysis", "dissent", "needs_iteration", "refinement_areas"],
    "additionalProperties": False,
}
"""What is asked of models that support schemas; the descriptions stand in for words in the question."""

EARLIER_LIMIT = 6_000
"""Characters of all that the arbiter sees of earlier iterations."""

REPAIR_LIMIT = 12_000
"""Characters of an unreadable reply that the arbiter is shown when it is asked once more."""

REMINDER_LIMIT = 400
"""Characters of the prompt that stand again at the end of the question, where small models look."""

_FIELDS = "synthesis|confidence|analysis|dissent|needs_iteration|refinement_areas"
_BLOCK = re.compile(r"<(?P<closing>/?)(?P<name>synthesis_output)\b[^<>]*>", re.IGNORECASE)
_FIELD = re.compile(rf"<(?P<closing>/?)(?P<name>{_FIELDS})\b[^<>]*>", re.IGNORECASE)
# What stands between the tags ends at the next opening one, so that a thousand unclosed ones are read but once.
_AREA = re.compile(r"<area>((?:(?!<area>).)*?)</area>", re.IGNORECASE | re.DOTALL)
_OBJECT = re.compile(r'\{\s*"')
_DECODER = json.JSONDecoder(strict=False)  # models write line breaks into JSON strings as they are
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+")


class Span(NamedTuple):
    """A stretch of a reply and what was read from it."""

    start: int
    end: int
    fields: dict[str, Any]


class TagPair(NamedTuple):
    """An opening tag and the closing one that belongs to it."""

    start: int
    end: int
    name: str
    inside: slice


T = TypeVar("T", Span, TagPair)


async def judge(run: Run, iteration: Iteration, call: Caller, reads_schema: Callable[[str], bool]) -> Iteration:
    """Ask the arbiter what it makes of an iteration's responses; where it fails, the strongest member stands in.

    Args:
        iteration: the one that follows `run.iterations`; its shown order names at least one response.
        reads_schema: whether the model of that name supports schemas.
    """
    arbiter = run.consortium.arbiter or ""
    judged = await _verdict_of(run, iteration, arbiter, "arbiter", call, reads_schema)
    stand_in = _strongest_other(iteration, arbiter)
    if judged.verdict is not None or stand_in is None:
        return judged
    again = await _verdict_of(run, iteration, stand_in, "arbiter/standin", call, reads_schema)
    if again.verdict is None:
        return judged
    return again.model_copy(update={"judged_by": stand_in, "arbiter_error": judged.arbiter_error})


async def _verdict_of(
    run: Run, iteration: Iteration, model: str, role: str, call: Caller, reads_schema: Callable[[str], bool]
) -> Iteration:
    """The iteration with a model's verdict, or the reason why there is none; an unreadable one is asked for again."""
    spec = _question(run, iteration, model, role, reads_schema(model))
    result = await call(spec)
    if not result.ok:
        return iteration.model_copy(update={"arbiter_error": result.error, "raw_verdict": result.text})
    reply = result.text or ""
    verdict = read_verdict(reply, iteration.responses)
    if verdict is None or verdict.confidence is None:
        repaired = await call(_repair(run, spec, reply, verdict))
        verdict = _repaired(reply, verdict, repaired, iteration.responses)
    problem = None if verdict else "its reply holds neither a verdict nor any text outside its thinking"
    return iteration.model_copy(update={"verdict": verdict, "arbiter_error": problem, "raw_verdict": reply})


def _strongest_other(iteration: Iteration, arbiter: str) -> str | None:
    """The model of the usable response that trusts itself most, the first of equals; None when it is the arbiter's."""
    usable = [response for response in iteration.responses if response.ok and response.model != arbiter]
    best = max(usable, key=lambda response: response.stated_confidence or 0.0, default=None)
    return best.model if best else None


def shown_order(seed: int, number: int, responses: Sequence[MemberResponse]) -> tuple[int, ...]:
    """The places of the usable responses in the order in which the arbiter sees them: shuffled, the same on replay."""
    places = [place for place, response in enumerate(responses) if response.ok]
    random.Random(f"{seed}/{number}").shuffle(places)
    return tuple(places)


def read_verdict(reply: str, responses: Sequence[MemberResponse] = ()) -> Verdict | None:
    """Read the last well-formed verdict outside any thinking block, as JSON or as tags; None when there is none.

    A verdict that stands word for word in one of the responses is a quotation of it, and passed over. What stands
    inside a verdict's own fields is text, never a further verdict.
    """
    reply = _outside_thinking(reply)
    said = [_squeezed(response.text or "") for response in responses]
    for found in reversed(_outermost([*_json_verdicts(reply), *_tagged_verdicts(reply)])):
        if not any(_squeezed(reply[found.start : found.end]) in text for text in said):
            return _as_verdict(found.fields)
    return None


def _question(run: Run, iteration: Iteration, model: str, role: str, reads_schema: bool) -> CallSpec:
    return CallSpec(
        call_id=f"i{iteration.number}/{role}",
        iteration=iteration.number,
        label=f"{model} (arbiter)",
        model=model,
        prompt=fill(
            "arbiter",
            mark=run.fence_mark,
            prompt=_unmarked(run.prompt, run),
            instructions=_instructions(run),
            responses="\n".join(
                _fenced(f"response {name}", iteration.responses[place].text or "", run)
                for name, place in enumerate(iteration.shown_order, start=1)
            ),
            earlier=_earlier(run),
            form=_form(run, reads_schema),
        ),
        history=run.history,
        output_schema=VERDICT_SCHEMA if reads_schema else None,
    )


def _repair(run: Run, question: CallSpec, reply: str, verdict: Verdict | None) -> CallSpec:
    """The same model asked once more, for the form alone."""
    problem = verdict.problem if verdict and verdict.problem else "no verdict in the form asked for"
    prompt = fill(
        "arbiter_repair",
        problem=_unmarked(problem, run),
        mark=run.fence_mark,
        prompt=_unmarked(clip(run.prompt, REPAIR_LIMIT), run),
        reply=_unmarked(clip(_outside_thinking(reply) or reply, REPAIR_LIMIT), run),
        form=_form(run, question.output_schema is not None),
    )
    return question.model_copy(update={"call_id": f"{question.call_id}/repair1", "prompt": prompt, "history": ()})


def _repaired(
    reply: str, verdict: Verdict | None, repaired: CallResult, responses: Sequence[MemberResponse]
) -> Verdict | None:
    """The verdict after the second asking: the first one's text wins where it could be read."""
    second = read_verdict(repaired.text or "", responses) if repaired.ok else None
    if verdict is None:
        if second is not None:
            return second
        text = _text(_outside_thinking(reply))
        problem = "the arbiter's reply is not in the form asked for; its text is taken as it is"
        return Verdict(synthesis=text, problem=problem) if text else None
    if second is not None and second.confidence is not None:
        return verdict.model_copy(update={"confidence": second.confidence, "problem": None})
    return verdict


def _form(run: Run, reads_schema: bool) -> str:
    prompt = _unmarked(clip(run.prompt, REMINDER_LIMIT), run)
    return fill("verdict_json" if reads_schema else "verdict_tags", prompt=prompt)


def _instructions(run: Run) -> str:
    system = run.consortium.system_prompt
    return _fenced("instructions that the models were given", system, run) if system else ""


def _earlier(run: Run) -> str:
    """What is left of earlier iterations: their syntheses and open points, in a space that does not grow."""
    if not run.iterations:
        return ""
    share = EARLIER_LIMIT // len(run.iterations)
    lines = []
    for iteration in run.iterations:
        verdict = iteration.verdict
        if verdict is None:
            continue
        confidence = "unknown" if verdict.confidence is None else f"{verdict.confidence:.2f}"
        open_points = "; ".join(verdict.refinement_areas)
        text = f"confidence {confidence}\nopen: {open_points}\n{verdict.synthesis}"
        lines.append(_fenced(f"your synthesis in iteration {iteration.number}", clip(text, share), run))
    return "\n".join(lines)


def _fenced(name: str, text: str, run: Run) -> str:
    return f"--- {name} {run.fence_mark} ---\n{_unmarked(text, run)}\n--- end of {name} {run.fence_mark} ---"


def _unmarked(text: str, run: Run) -> str:
    """The text without this run's mark: nobody can know it, so only chance or a leak could bring it there."""
    return text.replace(run.fence_mark, "[mark]")


def _outside_thinking(reply: str) -> str:
    """The reply without its thinking; one that is JSON as a whole has none, whatever its strings speak of."""
    try:
        _DECODER.decode(reply)
    except (ValueError, RecursionError):
        return strip_thinking(reply)
    return reply


def _json_verdicts(reply: str) -> list[Span]:
    """Every outermost JSON object that has a synthesis, with where it stands."""
    found: list[Span] = []
    position = tries = 0
    while tries < 200 and (opening := _OBJECT.search(reply, position)):
        try:
            value, position = _DECODER.raw_decode(reply, opening.start())
        except (ValueError, RecursionError):
            tries += 1
            position = opening.end()
            continue
        if isinstance(value.get("synthesis"), str) and value["synthesis"].strip():
            found.append(Span(opening.start(), position, value))
    return found


def _tagged_verdicts(reply: str) -> list[Span]:
    """Every outermost `<synthesis_output>` block with a synthesis; without such a block, the bare fields."""
    blocks = _pairs(_BLOCK, reply)
    verdicts = [Span(block.start, block.end, _fields(reply[block.inside])) for block in blocks]
    if not blocks and (fields := _pairs(_FIELD, reply)):
        verdicts = [Span(fields[0].start, fields[-1].end, _fields(reply))]
    return [verdict for verdict in verdicts if verdict.fields.get("synthesis")]


def _fields(block: str) -> dict[str, Any]:
    """The text of each field that stands directly in a block; of one that stands there twice, the last."""
    return {pair.name: block[pair.inside].strip() for pair in _pairs(_FIELD, block)}


def _pairs(tag: re.Pattern[str], text: str) -> list[TagPair]:
    """The outermost pairs of tags; each closing tag belongs to the nearest open one of its name."""
    waiting: dict[str, list[re.Match[str]]] = {}
    pairs: list[TagPair] = []
    for found in tag.finditer(text):
        name = found["name"].lower()
        opened = waiting.setdefault(name, [])
        if not found["closing"]:
            opened.append(found)
        elif opened:
            opening = opened.pop()
            pairs.append(TagPair(opening.start(), found.end(), name, slice(opening.end(), found.start())))
    return _outermost(pairs)


def _outermost(spans: Iterable[T]) -> list[T]:
    """The spans that no other one contains or overlaps from the left, in their order in the text."""
    kept: list[T] = []
    for span in sorted(spans, key=lambda one: (one.start, -one.end)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


def _as_verdict(fields: dict[str, Any]) -> Verdict:
    confidence = (
        read_confidence(fields["confidence"])
        if fields.get("confidence") not in (None, "")
        else Confidence(value=None, problem="no confidence is stated")
    )
    return Verdict(
        synthesis=_text(fields["synthesis"]),
        confidence=confidence.value,
        analysis=_text(fields.get("analysis")),
        dissent=_dissent(_text(fields.get("dissent")), fields["synthesis"]),
        needs_iteration=_text(fields.get("needs_iteration")).lower() in ("true", "yes", "1"),
        refinement_areas=_areas(fields.get("refinement_areas")),
        problem=confidence.problem,
    )


def _text(value: object) -> str:
    """The value as text that can be stored: JSON can spell half of a surrogate pair, which no database takes."""
    if value is None:
        return ""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    except RecursionError:  # nested as deep as could just be read
        return ""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace").strip()


def _dissent(text: str, synthesis: str) -> str:
    """The dissent, unless it says nothing, or only the synthesis once more, as small models do."""
    return "" if _squeezed(text) == _squeezed(synthesis) or not any(map(str.isalnum, text)) else text


def _areas(value: object) -> tuple[str, ...]:
    """Refinement areas, however they were listed: JSON, `<area>` tags, bullets or lines."""
    if isinstance(value, list):
        items = [_text(item) for item in value]
    else:
        text = _text(value)
        items = _AREA.findall(text) or text.splitlines()
    cleaned = (_BULLET.sub("", item.strip()).strip() for item in items)
    return tuple(item for item in cleaned if item)


def _squeezed(text: str) -> str:
    return " ".join(text.split())
