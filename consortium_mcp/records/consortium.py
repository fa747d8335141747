"""The definition of a consortium: members and rules, and the parser of `model:count`."""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from consortium_mcp._util.frozen_model import FrozenModel
from consortium_mcp.errors import InvalidConsortiumError
from consortium_mcp.records.rules import MAX_INSTANCES, Rules

CLIENT = "client"
"""The model name of the calling client's own model."""

OWN_ANSWER = "own_answer"
"""The model name of the caller's own answer."""

OPTIONS_EXAMPLE = "'gpt-5 {\"temperature\": 1}'"
"""An example of options after a model's name."""

_OPTIONS_LAST = re.compile(r' \{\s*"[^"{}]+"\s*:[^{}]*\}\s*$')
"""A JSON object at the end of a text; braces in a role's own words do not count."""

THEIR_NAMES = {"default": None, "elimination": "eliminate"}
"""Names of strategies and judging methods in later releases of llm-consortium; None means our default."""


class Member(FrozenModel):
    """One line of a consortium: a model, how many instances of it, and what they are told."""

    model: str = Field(min_length=1)
    """The llm model id or alias, as the user wrote it; `"a|b"` asks b if a cannot answer."""

    count: int = Field(default=1, ge=1, le=MAX_INSTANCES)
    """The number of instances of the model, 1 or more."""

    system_prompt: str | None = None
    """The system prompt of these instances; None means the consortium's."""

    role: str | None = Field(default=None, max_length=1000)
    """A known role (`skeptic`) or a short text (`expert in tax law`) after the system prompt; None means none."""

    options: dict[str, JsonValue] = {}
    """llm options of the model, such as `temperature`."""

    response: str | None = None
    """The caller's own answer in place of a reply; None asks the model."""

    def __str__(self) -> str:
        options = f" {json.dumps(self.options, ensure_ascii=False)}" if self.options else ""
        return f"{self.model}:{self.count}{options}" + (f" as {self.role}" if self.role else "")


class Consortium(Rules):
    """Who is asked, and under which rules."""

    members: tuple[Member, ...]
    """The members; their responses are shown in this order."""

    description: str | None = None
    """The purpose of the consortium, in its author's words."""

    arbiter_options: dict[str, JsonValue] = {}
    """llm options of the arbiter alone, which stand after its name."""

    @model_validator(mode="before")
    @classmethod
    def _from_llm_consortium(cls, data: Any) -> Any:
        """Accept what llm-consortium wrote, as `models` as a dict, and options after the arbiter's name."""
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if isinstance(data.get("arbiter"), str):
            data["arbiter"], own = split_options(data["arbiter"])
            data["arbiter_options"] = own or data.get("arbiter_options") or {}
        if "minimum_iterations" in data:
            data.setdefault("min_iterations", data.pop("minimum_iterations"))
        if isinstance(data.get("models"), dict) and "members" not in data:
            data["members"] = [{"model": model, "count": count} for model, count in data.pop("models").items()]
        return data

    @model_validator(mode="after")
    def _someone_is_asked(self) -> Self:
        if not self.members:
            raise ValueError("a consortium needs at least one member")
        if self.instance_count > MAX_INSTANCES:
            raise ValueError(f"{self.instance_count} instances are more than the {MAX_INSTANCES} that one run may ask")
        return self

    @property
    def instance_count(self) -> int:
        """The number of instances in one iteration."""
        return sum(member.count for member in self.members)

    @property
    def asked_count(self) -> int:
        """The number of instances that a model answers; the caller's own answer already exists."""
        return sum(member.count for member in self.members if member.response is None)

    @property
    def iteration_limit(self) -> int:
        """The number of iterations after which the run ends, whatever its confidence is."""
        return max(self.max_iterations, self.min_iterations)

    def with_rules(self, rules: Mapping[str, Any]) -> "Consortium":
        """The same definition with these rules changed.

        Raises InvalidConsortiumError for a broken rule, and for a minimum above a maximum if both were given.
        """
        if not rules:
            return self
        own = self.model_dump(exclude={"arbiter_options"} if "arbiter" in rules else None)
        changed = define(**{**own, **rules})
        if rules.keys() & _ITERATIONS and self.model_fields_set | rules.keys() >= _ITERATIONS:
            _refuse_contradiction(changed)
        return changed

    def options_of(self, member: Member | None) -> dict[str, JsonValue]:
        """The llm options of a member's calls; None means the arbiter's calls."""
        return {**(self.llm_options or {}), **(self.arbiter_options if member is None else member.options)}

    def saved_form(self) -> dict[str, Any]:
        """The row's JSON: all our fields, and those that llm-consortium reads from the same row."""
        counts: dict[str, int] = {}
        for member in self.members:
            counts[member.model] = counts.get(member.model, 0) + member.count
        return self.model_dump(mode="json") | {"models": counts, "minimum_iterations": self.min_iterations}


_ITERATIONS = {"min_iterations", "max_iterations"}


def _refuse_contradiction(consortium: Consortium) -> None:
    """Raise InvalidConsortiumError for a minimum above the maximum, because one of them limits spending."""
    if consortium.min_iterations > consortium.max_iterations:
        raise InvalidConsortiumError(
            f"min_iterations is {consortium.min_iterations} and max_iterations is {consortium.max_iterations}: "
            "give a minimum that is not above the maximum."
        )


def define(**fields: Any) -> Consortium:
    """Build a consortium from a caller's fields; a field that is None keeps its default.

    Raises:
        InvalidConsortiumError: a rule is broken; one sentence names the field, the value and the rule.
    """
    try:
        return Consortium.model_validate({name: value for name, value in fields.items() if value is not None})
    except ValidationError as error:
        raise InvalidConsortiumError(_one_sentence(error)) from error


def load_saved_form(row: Mapping[str, Any]) -> Consortium:
    """Read a saved row, written by us or by any release of llm-consortium.

    Unknown fields are left out, and llm-consortium's other names for our strategies and methods are translated.

    Raises:
        InvalidConsortiumError: the row breaks a rule.
    """
    known = set(Consortium.model_fields) | {"models", "minimum_iterations"}
    fields = {name: value for name, value in row.items() if name in known and value is not None}
    if "members" in fields:
        fields.pop("models", None)
    if "min_iterations" in fields:
        fields.pop("minimum_iterations", None)
    for name in ("strategy", "judging_method"):
        if isinstance(theirs := fields.get(name), str):
            fields[name] = THEIR_NAMES.get(theirs, theirs)
    return define(**fields)


def parse_members(texts: Sequence[str], is_model: Callable[[str], bool], default_count: int = 1) -> list[Member]:
    """Parse each `model:count {"option": value} as role`; all parts after the model are optional.

    The whole text is first looked up as a model id or alias, so `llama3:8b` is a model. Only if it is unknown, the text
    after the last colon is a count. A model that is named twice gets the sum of its counts.

    Args:
        is_model: whether a text is a known model id or alias.
        default_count: the number of instances of a model without a count.

    Raises:
        InvalidConsortiumError: a count is not a positive whole number, options are no JSON object, a backup has no
            name, or a role is a number.
    """
    members: dict[tuple[str, str | None, str], Member] = {}
    for text in texts:
        rest, options = (text, {}) if is_model(text.strip()) else split_options(text)
        who, _, role = rest.strip().partition(" as ")
        if not is_model(who.strip()):
            refuse_empty_backup(who)
        if re.fullmatch(r"[+-]?\d+", role.strip()):
            raise InvalidConsortiumError(
                f"The role in {text[:80]!r} is a number. Write a count as in 'model:3', or a role in words."
            )
        model, count = _split(who.strip(), is_model, default_count)
        named = (model, role.strip() or None, json.dumps(options, sort_keys=True))
        before = members[named].count if named in members else 0
        members[named] = Member.model_construct(model=model, count=before + count, role=named[1], options=options)
    return list(members.values())


def split_options(text: str) -> tuple[str, dict[str, JsonValue]]:
    """The text without its JSON object of llm options, and the options.

    Raises:
        InvalidConsortiumError: the options are no JSON object, or come after the role.
    """
    start = text.find(" {")
    if start < 0:
        return text, {}
    if " as " in text[:start]:
        if _OPTIONS_LAST.search(text):
            raise InvalidConsortiumError(
                f"The options in {text[:80]!r} stand after the role. Write them before it, as in {OPTIONS_EXAMPLE}."
            )
        return text, {}
    try:
        options, end = json.JSONDecoder().raw_decode(text, start + 1)
    except (ValueError, RecursionError):
        options, end = None, 0
    rest = text[end:]
    if not isinstance(options, dict) or (rest.strip() and not rest.startswith(" as ")):
        raise InvalidConsortiumError(
            f"The options in {text[:80]!r} are not a JSON object. Write them as in {OPTIONS_EXAMPLE}."
        )
    return text[:start] + rest, options


def find_cycle(name: str | None, consortium: Consortium, saved: Mapping[str, Consortium]) -> list[str] | None:
    """The path by which a consortium contains itself, as `["a", "b", "a"]`; None if it does not.

    Args:
        name: its present or future name; None if it is not saved.
        saved: every saved consortium by name; `consortium` replaces the saved one with the same name.
    """
    known = dict(saved) | ({name: consortium} if name else {})
    clear: set[str] = set()  # already searched without a cycle; otherwise each shared level would double the searches

    def walk(current: Consortium, path: list[str]) -> list[str] | None:
        for used in models_of(current):
            if used in path:
                return [*path, used]
            if used in known and used not in clear:
                if found := walk(known[used], [*path, used]):
                    return found
                clear.add(used)
        return None

    return walk(consortium, [name] if name else [])


def asks_and_judges_alike(one: Consortium, other: Consortium) -> bool:
    """Whether two definitions ask the same members in the same way, and judge in the same way.

    The caller's own answer, the description, the threshold and the limits may be different.
    """
    return without_own_answer(one).model_dump(include=_ASKING) == without_own_answer(other).model_dump(include=_ASKING)


_ASKING = {"members", "arbiter", "arbiter_options", "system_prompt", "llm_options", "strategy", "judging_method"}
_ASKING |= {"embedding_model", "group_answers", "choices", "ask", "check_order"}


def with_own_answer(consortium: Consortium, text: str) -> Consortium:
    """The definition with the caller's own answer as its last response, anonymous like the others."""
    own = Member(model=OWN_ANSWER, response=text)
    return consortium.model_copy(update={"members": (*consortium.members, own)})


def without_own_answer(consortium: Consortium) -> Consortium:
    """The definition without the caller's own answer."""
    asked = tuple(member for member in consortium.members if member.response is None)
    return consortium.model_copy(update={"members": asked})


def alternatives(model: str) -> list[str]:
    """The model and its backups, in the order of their use: `"a|b"` is a, then b."""
    return [name.strip() for name in model.split("|") if name.strip()]


def refuse_unreachable(name: str) -> None:
    """Raise InvalidConsortiumError for a consortium's name that, as a member, would be read as something else."""
    try:
        read = parse_members([name], lambda text: text == name)
    except InvalidConsortiumError:
        read = []
    if [(one.model, one.count, one.role) for one in read] != [(name, 1, None)] or alternatives(name) != [name]:
        raise InvalidConsortiumError(
            f"The name {name[:100]!r} cannot be a member of another consortium. Leave out '|', ' as ' and outer blanks."
        )


def refuse_empty_backup(model: str) -> None:
    """Raise InvalidConsortiumError for a text as `"a|"`, whose backup has no name."""
    if "|" in model and not all(name.strip() for name in model.split("|")):
        raise InvalidConsortiumError(
            f"{model[:80]!r} has a '|' without a model beside it. Write 'model|backup', or leave '|' out."
        )


def instances(consortium: Consortium) -> Iterator[tuple[Member, int]]:
    """Every instance in the declared order, numbered from 1 for each model."""
    asked: Counter[str] = Counter()
    for member in consortium.members:
        for _ in range(member.count):
            asked[alternatives(member.model)[0]] += 1
            yield member, asked[alternatives(member.model)[0]]


def models_of(consortium: Consortium) -> list[str]:
    """Every model that the consortium may call, each once, backups included."""
    asked = [member.model for member in consortium.members if member.response is None]
    asked += [consortium.arbiter] if consortium.arbiter else []
    return list(dict.fromkeys(name for model in asked for name in alternatives(model)))


def _split(text: str, is_model: Callable[[str], bool], default_count: int) -> tuple[str, int]:
    others, bar, last = text.rpartition("|")
    if bar:
        backup, instances = _split(last.strip(), is_model, default_count)
        return f"{others}|{backup}", instances
    if is_model(text) or ":" not in text:
        return text, _positive(default_count, text)
    model, _, count = text.rpartition(":")
    if re.fullmatch(r"[+-]?\d{1,20}", count):
        return model, _positive(int(count), text)
    return text, _positive(default_count, text)


def _positive(count: int, text: str) -> int:
    if not 1 <= count <= MAX_INSTANCES:
        raise InvalidConsortiumError(
            f"The count in {text!r} is {count}; it must be a whole number from 1 to {MAX_INSTANCES}."
        )
    return count


def _one_sentence(error: ValidationError) -> str:
    """The first broken rule, with the field and the value, in one sentence."""
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"]) or "the consortium"
    rule = str(problem["msg"]).removeprefix("Value error, ")
    if where == "confidence_threshold" and problem["type"] != "value_error":
        rule = "it must be between 0 and 1, or a percentage up to 100"
    given = "" if isinstance(problem["input"], dict | list) else f" is {repr(problem['input'])[:80]}"
    return f"Consortium not valid: {where}{given}: {rule}."
