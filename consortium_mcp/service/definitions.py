"""Finds the consortium of a request, and checks whether it can run, before any paid call."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from unicodedata import normalize

from pydantic import JsonValue

from consortium_mcp._util.caller import current_caller
from consortium_mcp._util.counts import counted
from consortium_mcp.engine.judging import judging_methods
from consortium_mcp.engine.strategies import strategies
from consortium_mcp.errors import (
    BusyError,
    ConsortiumError,
    InvalidConsortiumError,
    ModelUnavailableError,
    NextStep,
    NotFoundError,
)
from consortium_mcp.models.catalogue import Catalogue, ModelEntry, Models
from consortium_mcp.models.embeddings import load_embedding_model
from consortium_mcp.models.local import LOCAL_MODEL_ID, local_model_problem
from consortium_mcp.records.consortium import (
    CLIENT,
    Consortium,
    alternatives,
    define,
    find_cycle,
    models_of,
    refuse_unreachable,
)
from consortium_mcp.records.request import ConsultRequest, DefinitionRequest
from consortium_mcp.records.rules import MAX_BACKUPS
from consortium_mcp.service.effects import refuse_without_effect
from consortium_mcp.settings import Settings
from consortium_mcp.store import Store

DEFAULT_INSTANCES = 3
"""The number of instances that answer if a consult names no model."""

NAMED_MODELS = 5
"""The number of usable models that an error lists if a consult names no model and there is no default."""


@dataclass(frozen=True)
class Definitions:
    """Finds, checks and saves definitions, saved and inline ones."""

    store: Store
    settings: Settings

    def resolve(self, catalogue: Catalogue, request: ConsultRequest) -> tuple[str | None, Consortium]:
        """The name and the definition of the requested consortium; the name is None for an inline one.

        The rules in the request override those of the definition.

        Raises:
            NotFoundError, InvalidConsortiumError, ModelUnavailableError: with what to do.
        """
        named = request.consortium
        if named is not None and request.models:
            raise InvalidConsortiumError("Give either a consortium or models, not both.")
        if "count" in request.model_fields_set and not request.models:
            raise InvalidConsortiumError("count is for models, and none is named; name them, or leave count out.")
        name = normalize("NFC", named) if isinstance(named, str) else None
        if isinstance(named, Consortium):
            base = named
        elif name is not None:
            base = self.store.consortiums.load.sync(name)
        elif request.models:
            base = request.inline(self._names(catalogue))
        else:
            name, base = self.default(catalogue)
        consortium = base.with_rules(request.preset_rules | request.given_rules())
        refuse_without_effect(consortium, request.given_rules(), has_own_answer=request.own_answer is not None)
        return name, consortium

    def define(self, catalogue: Catalogue, request: DefinitionRequest) -> Consortium:
        """The definition that a request describes; it is not saved. Raises InvalidConsortiumError."""
        return defined(request, self._names(catalogue))

    def _names(self, catalogue: Catalogue) -> Callable[[str], bool]:
        """A function that tells whether a text is the name of a model or of a saved consortium."""
        saved_names = set(self.store.consortiums.list_names.sync())
        return lambda text: catalogue.knows(text) or text in saved_names

    def check(
        self, name: str | None, consortium: Consortium, catalogue: Catalogue, inside: tuple[str, ...] = ()
    ) -> Models:
        """Every model that may be called, with its backups, by the name in the consortium.

        Args:
            inside: the consortiums that contain this one, the outermost first.

        Raises:
            InvalidConsortiumError: a strategy or judging method is unknown, a system prompt is too long, or the
                consortium contains itself.
            ModelUnavailableError: a model is unknown or not allowed, has no key, or does not accept its options.
        """
        check_rules(consortium)
        self._check_prompts(name, consortium)
        others, _ = self.store.consortiums.list_all.sync()
        _refuse_cycle(name, consortium, others)
        allowed = self.settings.allowed_models
        usable = {model: self._usable(model, catalogue, consortium) for model in models_of(with_arbiter(consortium))}
        if consortium.embedding_model:
            load_embedding_model(consortium.embedding_model, allowed)
        asked = [member for member in consortium.members if member.response is None]
        for model, options in _options_by_model(consortium):
            usable[model].check_options(options)
        for entry in usable.values():
            self._check_nested(entry, catalogue, inside if name is None else (*inside, name))
        names = [*(member.model for member in asked), with_arbiter(consortium).arbiter or ""]
        return {name: [usable[model] for model in alternatives(name)] for name in names}

    def problems(self, name: str | None, consortium: Consortium, catalogue: Catalogue) -> list[str]:
        """The reasons, one sentence each, why a definition's models cannot be called; empty if they can.

        Raises:
            InvalidConsortiumError: the definition breaks a rule, so that its models cannot be checked.
        """
        check_rules(consortium)
        others, _ = self.store.consortiums.list_all.sync()
        checks: list[Callable[[], object]] = [
            partial(self._check_prompts, name, consortium),
            partial(_refuse_cycle, name, consortium, others),
        ]
        for model in models_of(with_arbiter(consortium)):
            checks.append(partial(self._usable, model, catalogue, consortium))
            if entry := catalogue.find(model):
                checks.append(partial(self._check_nested, entry, catalogue, (name,) if name else ()))
        if embedding_model := consortium.embedding_model:
            checks.append(partial(load_embedding_model, embedding_model, self.settings.allowed_models))
        for model, options in _options_by_model(consortium):
            if entry := catalogue.find(model):
                checks.append(partial(entry.check_options, options))
        return [problem for check in checks if (problem := _complaint(check))]

    def problem(self, name: str, consortium: Consortium, catalogue: Catalogue) -> str | None:
        """Why a saved consortium cannot run now, and what to do; None if it can."""
        return _complaint(lambda: self.check(name, consortium, catalogue))

    def list_problems(self, catalogue: Catalogue) -> dict[str, str | None]:
        """Why each saved consortium, damaged ones included, cannot run now; None for each one that can."""
        loaded, damaged = self.store.consortiums.list_all.sync()
        return {name: self.problem(name, one, catalogue) for name, one in loaded.items()} | damaged

    def list_uses(self, name: str) -> list[str]:
        """What uses the consortium: the consortiums that contain it, and the default."""
        loaded, _ = self.store.consortiums.list_all.sync()
        uses = [other for other, one in loaded.items() if other != name and name in models_of(with_arbiter(one))]
        return [*uses, *(["CONSORTIUM_DEFAULT"] if self.settings.default == name else [])]

    def save(self, name: str, consortium: Consortium, catalogue: Catalogue, *, overwrite: bool) -> None:
        """Save a definition for later consults. Its models are checked at each consult, not here.

        A caller's own consortium hides one of the server's with the same name, for this caller only.

        Raises:
            InvalidConsortiumError: the name belongs to a model, or is taken and `overwrite` is false; a rule is broken;
                or a text is too long.
        """
        if not name.strip() or len(name) > 100 or not name.isprintable():
            raise InvalidConsortiumError(f"Invalid consortium name {name[:100]!r}. Use 1 to 100 printable characters.")
        name = normalize("NFC", name)
        refuse_unreachable(name)
        _refuse_model_name(name, catalogue)
        check_rules(consortium)
        self._check_prompts(name, consortium)
        if problems := self.long_texts({f"description of {name!r}": consortium.description}):
            raise InvalidConsortiumError(" ".join(problems))
        others, _ = self.store.consortiums.list_all.sync()
        if not overwrite and name in self.store.consortiums.list_own_names.sync():
            raise InvalidConsortiumError(
                f"A consortium named {name!r} is already saved.", NextStep.OVERWRITE, name=name
            )
        _refuse_cycle(name, consortium, others)
        self._check_room(name)
        self.store.consortiums.save.sync(name, consortium)

    def _check_room(self, name: str) -> None:
        """Raise BusyError if the caller has saved as many consortiums as it may; replacing its own is allowed."""
        most, own = self.settings.max_consortiums_per_caller, self.store.consortiums.list_own_names.sync()
        if current_caller() is not None and name not in own and len(own) >= most:
            raise BusyError(
                f"You have saved {counted(len(own), 'consortium')}, which is the limit. Remove one.",
                limit="max_consortiums_per_caller",
            )

    def long_texts(self, texts: Mapping[str, str | None]) -> list[str]:
        """The names of the texts that have more characters than allowed; empty if none has."""
        limit = self.settings.max_prompt_chars
        return [
            f"The {what} has {len(text)} characters; {limit} are allowed (CONSORTIUM_MAX_PROMPT_CHARS). Shorten it."
            for what, text in texts.items()
            if text and len(text) > limit
        ]

    def _check_prompts(self, name: str | None, consortium: Consortium) -> None:
        """Raise if a system prompt is too long, also in a consortium that was saved under a higher limit."""
        prompts = [consortium.system_prompt, *(member.system_prompt for member in consortium.members)]
        longest = max((prompt or "" for prompt in prompts), key=len)
        what = "system prompt" if name is None else f"system prompt of {name!r}"
        if problems := self.long_texts({what: longest}):
            raise InvalidConsortiumError(" ".join(problems))

    def _usable(self, model: str, catalogue: Catalogue, consortium: Consortium) -> ModelEntry:
        """A model of a consortium, ready to be called. Raises ModelUnavailableError, which says if it is a backup."""
        try:
            return self._usable_alone(model, catalogue)
        except ModelUnavailableError as error:
            if first := _stands_in_for(model, consortium):
                message = f"The backup of {first!r} cannot be asked: {error.args[0]}"
                raise ModelUnavailableError(message, error.next_step, **error.about) from error
            raise

    def _usable_alone(self, model: str, catalogue: Catalogue) -> ModelEntry:
        """The model, ready to be called. Raises ModelUnavailableError."""
        has_own = current_caller() is not None and not self.settings.shared
        entry = catalogue.find(model)
        is_saved = entry is None or entry.is_consortium  # also if it hides one of the server's
        if has_own and is_saved and model in self.store.consortiums.list_own_names.sync():
            raise ModelUnavailableError(
                f"The consortium {model!r} is your own, and only the server's consortiums can be members: name its "
                "models instead."
            )
        return catalogue.usable(model, self.settings.allowed_models)

    def _check_nested(self, entry: ModelEntry, catalogue: Catalogue, inside: tuple[str, ...]) -> None:
        """If a model is itself a saved consortium, check that one too, because its run opens only after paid calls."""
        name = entry.model_id
        if not entry.is_consortium:
            return
        if name in inside:
            raise InvalidConsortiumError(_contains_itself([*inside[inside.index(name) :], name]))
        nested = self.store.consortiums.load.sync(name)
        try:
            if CLIENT in models_of(with_arbiter(nested)):
                raise ModelUnavailableError(
                    f"The model {CLIENT!r} is the calling client's own model, which nested runs cannot use. "
                    "Name other models.",
                    NextStep.LIST_MODELS,
                )
            self.check(name, nested, catalogue, inside)
        except ModelUnavailableError as error:
            raise ModelUnavailableError(f"The member consortium {name!r} cannot run: {error}") from error

    def default(self, catalogue: Catalogue) -> tuple[str | None, Consortium]:
        """The default consortium, for a request without models; the order of the choices is part of the contract."""
        names = self.store.consortiums.list_names.sync()
        if wanted := self.settings.default:
            if wanted not in names:
                raise NotFoundError(
                    f"CONSORTIUM_DEFAULT names {wanted!r}, which is not saved. Saved: {', '.join(names) or 'none'}."
                )
            return wanted, self.store.consortiums.load.sync(wanted)
        if "default" in names:
            return "default", self.store.consortiums.load.sync("default")
        for model in (catalogue.default_model, LOCAL_MODEL_ID):
            try:
                catalogue.usable(model, self.settings.allowed_models)
            except ModelUnavailableError:
                continue
            return None, define(members=[{"model": model, "count": DEFAULT_INSTANCES}], arbiter=model)
        if usable := catalogue.usable_ids(self.settings.allowed_models):
            named = ", ".join([*usable[:NAMED_MODELS], *(["…"] if len(usable) > NAMED_MODELS else [])])
            raise _no_default(f"No model is named, and there is no default. Models to name: {named}.", catalogue)
        chosen = self.settings.local_model
        cause = f" {problem}" if chosen and (problem := local_model_problem(chosen)) else ""
        raise _no_default(f"No model can be used.{cause}", catalogue)


def defined(request: DefinitionRequest, is_model: Callable[[str], bool]) -> Consortium:
    """The definition that a caller describes. Raises InvalidConsortiumError, also for a rule without effect.

    Args:
        is_model: tells whether a text is the name of a model.
    """
    consortium = request.define(is_model)
    refuse_without_effect(consortium, request.given_rules())
    return consortium


def with_arbiter(consortium: Consortium) -> Consortium:
    """The definition with an explicit arbiter; if it names none, the first member's model."""
    return consortium.model_copy(update={"arbiter": consortium.arbiter or consortium.members[0].model})


def _stands_in_for(model: str, consortium: Consortium) -> str | None:
    """The model that another model is a backup of; None for a model that is no backup."""
    named = [*(member.model for member in consortium.members), with_arbiter(consortium).arbiter or ""]
    groups = [alternatives(one) for one in named]
    if any(group[0] == model for group in groups):
        return None
    return next((group[0] for group in groups if model in group), None)


def client_problems(consortium: Consortium, has_client: bool) -> list[str]:
    """Why the calling client's own model cannot be asked; empty if it can, or if it is not used."""
    if has_client or CLIENT not in models_of(with_arbiter(consortium)):
        return []
    offered = ModelUnavailableError(
        f"The model {CLIENT!r} is the calling client's own model, and this caller offers none. "
        "It needs an MCP client that declares sampling. Name other models.",
        NextStep.LIST_MODELS,
    )
    return [str(offered)]


def _no_default(what: str, catalogue: Catalogue) -> ModelUnavailableError:
    return ModelUnavailableError(what, NextStep.HAVE_DEFAULT, model=catalogue.default_model)


def check_rules(consortium: Consortium) -> None:
    """Raise InvalidConsortiumError if the strategy or method is unknown, or if the rules do not fit together."""
    strategy = strategies().find(consortium.strategy)
    method = judging_methods().find(consortium.judging_method)
    if strategy.needs_ranking and not method.ranks:
        ranking = " or ".join(one.name for one in judging_methods().values() if one.ranks)
        raise InvalidConsortiumError(
            f"The strategy {strategy.name!r} needs a judging method that ranks: {ranking}, not {method.name!r}."
        )
    if method.needs_choices and not consortium.choices:
        raise InvalidConsortiumError(f"The judging method {method.name!r} needs choices: name two or more.")
    if consortium.group_answers and consortium.embedding_model:
        raise InvalidConsortiumError("group_answers and embedding_model both compare meanings. Give one of them.")
    for model in [member.model for member in consortium.members] + [consortium.arbiter or ""]:
        if len(alternatives(model)) > 1 + MAX_BACKUPS:
            raise InvalidConsortiumError(f"{model[:40]!r} has more than {MAX_BACKUPS} backups. Name fewer.")
    for name, wanted in (("quorum", consortium.quorum), ("min_responses", consortium.min_responses)):
        if (wanted or 0) > consortium.asked_count:
            most = counted(consortium.asked_count, "instance")
            raise InvalidConsortiumError(f"{name} is {wanted}; at most {most} can answer.")
    for what, needed in ((f"strategy {strategy.name!r}", strategy), (f"judging method {method.name!r}", method)):
        if consortium.instance_count < needed.min_instances:
            raise InvalidConsortiumError(
                f"The {what} needs at least {needed.min_instances} instances, and there are "
                f"{consortium.instance_count}. Name more models, or a count, as in 'model:3'."
            )


def _options_by_model(consortium: Consortium) -> Iterator[tuple[str, dict[str, JsonValue]]]:
    """Every model that may be asked, backups included, with the options of its calls."""
    for member in consortium.members:
        if member.response is None:
            yield from ((model, consortium.options_of(member)) for model in alternatives(member.model))
    method = judging_methods().find(consortium.judging_method)
    if method.needs_arbiter or method.groups_answers(consortium):
        arbiter = with_arbiter(consortium).arbiter or ""
        yield from ((model, consortium.options_of(None)) for model in alternatives(arbiter))


def _complaint(check: Callable[[], object]) -> str | None:
    try:
        check()
    except ConsortiumError as error:
        return str(error)
    return None


def check_schema_use(consortium: Consortium, models: Models) -> None:
    """Raise if the answer cannot follow a JSON schema of the caller.

    Args:
        models: what `Definitions.check` returned for it.
    """
    able = [method.name for method in judging_methods().values() if method.follows_schema]
    if consortium.judging_method not in able:
        raise InvalidConsortiumError(
            f"An answer by a JSON schema needs the judging method {' or '.join(able)}, not "
            f"{consortium.judging_method!r}."
        )
    for arbiter in models[consortium.arbiter or ""]:
        if not arbiter.supports_schema:
            raise InvalidConsortiumError(
                f"An answer by a JSON schema needs an arbiter that supports schemas, which {arbiter.model_id} does "
                "not: name another one (`llm models --schemas` lists them)."
            )


def _refuse_model_name(name: str, catalogue: Catalogue) -> None:
    """Raise if llm already knows the name, because a consortium with it would hide the model."""
    known = catalogue.find(name)
    if known is not None and not (known.is_consortium and known.model_id == name):
        what = "the id of a model" if known.model_id == name else f"an alias of the model {known.model_id!r}"
        raise InvalidConsortiumError(
            f"The name {name!r} is {what} in llm ({known.plugin}), and the consortium would hide it: choose another "
            "name."
        )


def _refuse_cycle(name: str | None, consortium: Consortium, others: Mapping[str, Consortium]) -> None:
    if cycle := find_cycle(name, consortium, others):
        raise InvalidConsortiumError(_contains_itself(cycle))


def _contains_itself(path: Sequence[str]) -> str:
    return f"The consortium contains itself: {' → '.join(path)}. Remove one of these members."
