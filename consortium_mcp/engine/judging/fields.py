"""The fields of a verdict: by which names models call them, and how each value becomes text, number or list."""

import json
import re
from collections.abc import Mapping
from typing import Any

from consortium_mcp.text.confidence import Confidence, read_confidence
from consortium_mcp.text.lenient_json import parse_object
from consortium_mcp.text.templates import storable

NAMES: dict[str, tuple[str, ...]] = {
    "synthesis": (
        "synthesis",
        "final_answer",
        "final_synthesis",
        "synthesized_answer",
        "combined_answer",
        "best_answer",
        "answer",
        "response",
    ),
    "best": ("best", "best_response", "winner", "choice", "pick"),
    "ranking": ("ranking", "rank", "ranked", "order", "ranked_responses"),
    "confidence": ("confidence", "confidence_score", "confidence_level", "certainty", "score"),
    "completeness": ("completeness", "completeness_score"),
    "agreeing_responses": ("agreeing_responses",),
    "contradicting_responses": ("contradicting_responses",),
    "analysis": ("analysis", "reasoning", "rationale", "explanation", "reasons"),
    "dissent": ("dissent", "dissenting_views", "dissenting_opinions", "dissenting_opinion", "disagreement"),
    "needs_iteration": ("needs_iteration", "needs_another_iteration", "iterate"),
    "refinement_areas": ("refinement_areas", "refinements", "areas_for_refinement"),
    "claims": ("claims", "disputed_claims"),
    "findings": ("findings", "issues"),
    "mark": ("mark", "verdict_mark"),
}
"""Each field's names, its own first."""

MAINS = ("synthesis", "best", "ranking")
"""The fields without which there is no verdict, one for each form."""

_CALLED = {name: field for field, names in NAMES.items() for name in names}
_NEW_WORD = re.compile(r"[\s-]+|(?<=[a-z])(?=[A-Z])")
_FIGURES = ("value", "score", "level", "confidence", "probability", "right", "correct", "correctness")
"""What a field calls its own figure where it is an object."""

_RESPONSE_NUMBER = re.compile(r"(?:(?<!\w)-)?\d{1,4}")  # the minus of "-1" makes it no response; that of "1-2" does not
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+")
# What stands between the tags ends at the next opening one, so that a thousand unclosed ones are read but once.
_AREA = re.compile(r"<area>((?:(?!<area>).)*?)</area>", re.IGNORECASE | re.DOTALL)
_NOTHING = re.compile(
    r"(?:(?:there (?:is|was|are) )?(?:no(?:ne|thing)?|n/?a|nil|null|not applicable|keine?r?|aucune?|ning[uú]no|nessuno)"
    r"(?: (?:real |notable |significant |substantive |further |major |remaining )?"
    r"(?:dissent|disagreements?|objections?|differences?|contradictions?|conflicts?)(?: (?:found|noted|remains?))?)?"
    r"|all (?:the )?(?:responses|models|members) agree|empty)",
    re.IGNORECASE,
)
_OF_SCHEMAS = {"type", "description", "enum", "minimum", "maximum", "properties", "items"}
_JSON_TYPES = {"string", "number", "integer", "boolean", "array", "object"}


def name_of(label: str) -> str | None:
    """The field that a label means, in any case and spelling; None where it means none."""
    return _CALLED.get(_plain_name(label))


def _plain_name(label: str) -> str:
    """The label in lower case, its words joined by underscores: `confidenceScore` is `confidence_score`."""
    return _NEW_WORD.sub("_", label.strip()).lower()


def verdict_in(value: object, main: str, depth: int = 0) -> dict[str, Any] | None:
    """The fields of the verdict that a value is, or that is wrapped in it once or twice; None where there is none.

    A main field by another name counts only beside another field of a verdict.
    """
    if isinstance(value, str) and depth and value.lstrip().startswith("{"):
        value = _parsed(value)
    if isinstance(value, list):
        return verdict_in(value[0], main, depth + 1) if len(value) == 1 and depth < 2 else None
    if not isinstance(value, dict):
        return None
    fields = _named(value)
    if _is_value(fields.get(main)) and (main in value or len(fields) > 1):
        return fields
    if depth >= 2:
        return None
    return next((found for one in value.values() if (found := verdict_in(one, main, depth + 1))), None)


def _parsed(text: str) -> object:
    try:
        return json.loads(text, strict=False)
    except (ValueError, RecursionError):
        try:
            return parse_object(text, len(text) - len(text.lstrip())).value
        except ValueError:
            return None


def _named(value: Mapping[str, Any]) -> dict[str, Any]:
    """The fields by their own names; where a field stands by two names, by the better one."""
    fields: dict[str, Any] = {}
    ranks: dict[str, int] = {}
    for label, one in value.items():
        field = name_of(label)
        if field is None:
            continue
        rank = NAMES[field].index(_plain_name(label))
        if rank <= ranks.get(field, len(NAMES[field])):
            fields[field], ranks[field] = _alone(one), rank
    return fields


def _alone(value: Any) -> Any:
    """A field's value; of an object that holds it beside its reason or type, the value alone."""
    return value["value"] if isinstance(value, dict) and "value" in value else value


def _is_value(value: object) -> bool:
    """Whether a main field says something, and is no piece of a schema."""
    if (
        isinstance(value, dict)
        and value.get("type") in _JSON_TYPES
        and {"description", "enum", "type"}.issuperset(value)
    ):
        return False
    return not isinstance(value, bool) and bool(text_of(value))


def confidence_of(fields: Mapping[str, Any]) -> Confidence:
    """The confidence that a verdict's fields state."""
    stated = fields.get("confidence")
    if isinstance(stated, list) and len(stated) == 1:
        stated = stated[0]
    if isinstance(stated, dict):
        stated = next((stated[name] for name in _FIGURES if name in stated), None)
    if stated in (None, ""):
        return Confidence(value=None, problem="no confidence is stated")
    return read_confidence(stated)


def completeness_of(fields: Mapping[str, Any]) -> float | None:
    """How complete a verdict says that its answer is, 0.0-1.0; None if it says nothing that can be read.

    It may stand in a field of its own, or beside the confidence, as in `{"right": 0.9, "complete": 0.7}`.
    """
    stated, beside = fields.get("completeness"), fields.get("confidence")
    if stated is None and isinstance(beside, dict):
        stated = next((beside[name] for name in ("complete", "completeness") if name in beside), None)
    return None if stated in (None, "") else read_confidence(stated).value


def flag_of(value: object) -> bool:
    """A field that says yes or no."""
    return text_of(value).lower() in ("true", "yes", "1")


def text_of(value: object) -> str:
    """The value as text that can be stored: a list's items as bullets, an object's fields as lines.

    JSON can spell half of a surrogate pair, which no database takes.
    """
    try:
        text = _as_text(value)
    except RecursionError:  # nested as deep as could just be read
        return ""
    return storable(text).strip()


def _as_text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        items = [_as_text(item) for item in value]
        return items[0] if len(items) == 1 else "\n".join(f"- {item}" for item in items if item)
    if isinstance(value, dict):
        if len(value) == 1:
            return _as_text(next(iter(value.values())))
        return "\n".join(f"{name}: {_as_text(one)}" for name, one in value.items())
    return json.dumps(value)


def as_json(value: object) -> str:
    """An object as JSON, for answers that follow a schema."""
    try:
        return storable(json.dumps(value, ensure_ascii=False))
    except RecursionError:
        return ""


def dissent_of(value: object, synthesis: str) -> str:
    """The dissent, unless it says that there is none, or only the synthesis once more, as small models do."""
    text = text_of(value)
    says = squeezed(text).strip(" .!-*_()[]\"'`")
    if not any(map(str.isalnum, says)) or _NOTHING.fullmatch(says) or squeezed(text) == squeezed(synthesis):
        return ""
    return text


def areas_of(value: object) -> tuple[str, ...]:
    """Refinement areas, however they were listed: JSON, `<area>` tags, bullets or lines."""
    if isinstance(value, list):
        items = [text_of(item) for item in value]
    else:
        text = text_of(value)
        items = _AREA.findall(text) or text.splitlines()
    cleaned = (_BULLET.sub("", item.strip()).strip() for item in items)
    return tuple(item for item in cleaned if item and not _NOTHING.fullmatch(item.strip(" .")))


def squeezed(text: str) -> str:
    """The text with one space for each stretch of white space."""
    return " ".join(text.split())


def numbers_of(value: object) -> list[int]:
    """The whole numbers in a list or a text, in their order."""
    if isinstance(value, bool):
        return []
    if isinstance(value, int):
        return [value]
    if isinstance(value, list):
        return [number for item in value for number in numbers_of(item)]
    return [int(digits) for digits in _RESPONSE_NUMBER.findall(text_of(value))]
