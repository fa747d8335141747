"""The fields of a verdict: the names that models give them, and conversion of the values to text, number or list."""

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
    "response_groups": ("response_groups",),
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
"""The accepted names of each field, the canonical name first."""

MAINS = ("synthesis", "best", "ranking")
"""The main field of each form; a verdict must have one."""

_CALLED = {name: field for field, names in NAMES.items() for name in names}
_NEW_WORD = re.compile(r"[\s-]+|(?<=[a-z])(?=[A-Z])")
_FIGURES = ("value", "score", "level", "confidence", "probability", "right", "correct", "correctness")
"""The keys under which an object can hold the figure of a field."""

_RESPONSE_NUMBER = re.compile(r"(?:(?<!\w)-)?\d{1,4}")  # "-1" is no response number; "1-2" is a range
_BULLET = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)])\s+")
# A value ends at the next opening tag, so that a thousand unclosed tags are read in linear time.
_AREA = re.compile(r"<area>((?:(?!<area>).)*?)</area>", re.IGNORECASE | re.DOTALL)
_NOTHING = re.compile(
    r"(?:(?:there (?:is|was|are) )?"
    r"(?:no(?:ne|thing)?|n/?a|nil|null|false|not applicable|keine?r?|aucune?|ning[uú]no|nessuno)"
    r"(?: (?:real |notable |significant |substantive |further |major |remaining )?"
    r"(?:dissent|disagreements?|objections?|differences?|contradictions?|conflicts?)(?: (?:found|noted|remains?))?)?"
    r"|all (?:the )?(?:responses|models|members) agree|empty)",
    re.IGNORECASE,
)
_OF_SCHEMAS = {"type", "description", "enum", "minimum", "maximum", "properties", "items"}
_JSON_TYPES = {"string", "number", "integer", "boolean", "array", "object"}


def name_of(label: str) -> str | None:
    """The field that a label means, in any case and spelling; None if it means none."""
    return _CALLED.get(_plain_name(label))


def _plain_name(label: str) -> str:
    """The label in lower case, with underscores between words: `confidenceScore` becomes `confidence_score`."""
    return _NEW_WORD.sub("_", label.strip()).lower()


def verdict_in(value: object, main: str, depth: int = 0) -> dict[str, Any] | None:
    """The fields of a verdict, which is the value itself or is nested in it up to twice; None if there is none.

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
    """The fields by their canonical names; of two names for a field, the one listed first wins, unless it is null."""
    fields: dict[str, Any] = {}
    ranks: dict[str, int] = {}
    for label, one in value.items():
        field = name_of(label)
        if field is None:
            continue
        rank = len(NAMES[field]) if one is None else NAMES[field].index(_plain_name(label))
        if rank <= ranks.get(field, len(NAMES[field])):
            fields[field], ranks[field] = _alone(one), rank
    return fields


def _alone(value: Any) -> Any:
    """A field's value; if it is an object with a reason or a type beside the value, the value alone."""
    return value["value"] if isinstance(value, dict) and "value" in value else value


def _is_value(value: object) -> bool:
    """Whether a main field has content, and is not a part of a schema."""
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
    """A yes/no field as a boolean."""
    return text_of(value).lower() in ("true", "yes", "1")


def text_of(value: object) -> str:
    """The value as text that can be stored: a list as bullets, an object as lines.

    JSON can contain half of a surrogate pair, which SQLite rejects; it is replaced.
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
    """An object as JSON text, for answers that follow a schema."""
    try:
        return storable(json.dumps(value, ensure_ascii=False))
    except RecursionError:
        return ""


def dissent_of(value: object, synthesis: str) -> str:
    """The dissent; empty if it says that there is none, or only repeats the synthesis, as small models do."""
    text = text_of(value)
    says = squeezed(text).strip(" .!-*_()[]\"'`")
    if not any(map(str.isalnum, says)) or _NOTHING.fullmatch(says) or squeezed(text) == squeezed(synthesis):
        return ""
    return text


def areas_of(value: object) -> tuple[str, ...]:
    """Refinement areas from any kind of list: JSON, `<area>` tags, bullets or lines."""
    if isinstance(value, list):
        items = [text_of(item) for item in value]
    else:
        text = text_of(value)
        items = _AREA.findall(text) or text.splitlines()
    cleaned = (_BULLET.sub("", item.strip()).strip() for item in items)
    return tuple(item for item in cleaned if item and not _NOTHING.fullmatch(item.strip(" .")))


def squeezed(text: str) -> str:
    """The text with each run of white space replaced by one space."""
    return " ".join(text.split())


def numbers_of(value: object) -> list[int]:
    """The integers in a list or a text, in their order."""
    if isinstance(value, bool):
        return []
    if isinstance(value, int):
        return [value]
    if isinstance(value, list):
        return [number for item in value for number in numbers_of(item)]
    return [int(digits) for digits in _RESPONSE_NUMBER.findall(text_of(value))]
