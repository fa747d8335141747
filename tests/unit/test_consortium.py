"""The definition: accepted input, sources, and the one sentence of each refusal."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from consortium_mcp.errors import InvalidConsortiumError
from consortium_mcp.records.consortium import (
    Consortium,
    Member,
    define,
    find_cycle,
    load_saved_form,
    parse_members,
)
from consortium_mcp.records.rules import MAX_INSTANCES, MAX_ITERATIONS
from tests.scripted import panel
from tests.seed import SEED_CONSORTIUM, SEED_ROW, SeedConfig

KNOWN = {"a", "b", "llama3:8b", "vendor/model:free", "llama3.2:3b"}


MEMBERS = st.lists(
    st.builds(
        lambda model, count, prompt, options: {
            "model": model,
            "count": count,
            "system_prompt": prompt,
            "options": options,
        },
        st.text(min_size=1, max_size=8),
        st.integers(1, 20),
        st.none() | st.text(max_size=10),
        st.dictionaries(
            st.text(max_size=4), st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4), max_size=2
        ),
    ),
    min_size=1,
    max_size=5,
)
CONSORTIUMS = st.builds(
    define,
    members=MEMBERS,
    arbiter=st.none() | st.text(max_size=8),
    system_prompt=st.none() | st.text(max_size=20),
    confidence_threshold=st.floats(0, 1),
    max_iterations=st.integers(1, MAX_ITERATIONS),
    min_iterations=st.integers(1, MAX_ITERATIONS),
    description=st.none() | st.text(max_size=20),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def counts(texts: list[str], default: int = 1, is_model: Callable[[str], bool] = KNOWN.__contains__) -> dict[str, int]:
    """The models that texts name, with their counts."""
    return {member.model: member.count for member in parse_members(texts, is_model, default)}


def refusal(**fields: Any) -> str:
    """The sentence with which a definition is refused."""
    with pytest.raises(InvalidConsortiumError) as refused:
        define(**{"members": [{"model": "a"}]} | fields)
    return str(refused.value)


# "model:count"


@pytest.mark.parametrize(
    ("text", "model", "count"),
    [
        ("a", "a", 1),
        ("a:3", "a", 3),
        (" a:3 ", "a", 3),
        ("llama3:8b", "llama3:8b", 1),
        ("llama3:8b:2", "llama3:8b", 2),
        ("llama3.2:3b", "llama3.2:3b", 1),
        ("vendor/model:free", "vendor/model:free", 1),
        ("vendor/model:free:4", "vendor/model:free", 4),
        ("unknown:8b", "unknown:8b", 1),
        ("unknown:2", "unknown", 2),
        (f"a:{MAX_INSTANCES}", "a", MAX_INSTANCES),
    ],
)
def test_B12_the_whole_text_is_a_model_first_and_a_count_follows_its_last_colon(
    text: str, model: str, count: int
) -> None:
    assert counts([text]) == {model: count}


def test_B12_a_known_model_that_ends_in_a_number_is_not_split() -> None:
    assert counts(["model:2"], is_model=lambda text: text == "model:2") == {"model:2": 1}


@pytest.mark.parametrize("text", ["a:two", "a:2.5", "a:2x", "a:", "a:1e2", "a:" + "9" * 5_000])
def test_B12_what_is_no_whole_number_is_never_guessed_to_be_a_count(text: str) -> None:
    assert counts([text]) == {text: 1}


def test_a_model_without_a_count_gets_the_default_count() -> None:
    assert counts(["a", "b:1", "llama3:8b"], default=3) == {"a": 3, "b": 1, "llama3:8b": 3}


@pytest.mark.parametrize("text", ["a:0", "a:-1", "a:257", "a:99999999999999999999", "llama3:8b:0"])
def test_B13_a_count_out_of_range_is_refused_with_the_text_and_the_range(text: str) -> None:
    with pytest.raises(InvalidConsortiumError, match=f"{text}.*from 1 to 256"):
        counts([text])


@pytest.mark.parametrize("default", [0, -1, 257])
def test_B13_a_default_count_out_of_range_is_refused(default: int) -> None:
    with pytest.raises(InvalidConsortiumError, match="from 1 to 256"):
        counts(["a"], default)


def test_B13_a_model_named_twice_gets_the_sum() -> None:
    assert counts(["a:2", "b", "a", "a:3"]) == {"a": 6, "b": 1}


@pytest.mark.parametrize("count", [0, -1, MAX_INSTANCES + 1, 1.5, "two", None])
def test_B13_a_members_count_is_a_whole_number_from_one(count: object) -> None:
    assert "count" in refusal(members=[{"model": "a", "count": count}])


def test_B13_all_members_together_have_a_limit_too() -> None:
    assert "more than the 256" in refusal(members=[{"model": "a", "count": 200}, {"model": "b", "count": 200}])


@pytest.mark.parametrize("members", [[], ()])
def test_B13_a_consortium_without_members_is_refused(members: object) -> None:
    assert "at least one member" in refusal(members=members)


@given(
    st.lists(st.text(alphabet="ab:0123456789-+. ٣²", max_size=8) | st.text(max_size=8), max_size=6),
    st.integers(-2, 300),
)
@settings(max_examples=200, deadline=None)
def test_B12_parse_members_raises_nothing_but_invalid_consortium(texts: list[str], default: int) -> None:
    try:
        found = counts(texts, default)
    except InvalidConsortiumError:
        found = {}
    assert all(count >= 1 for count in found.values())


@given(st.lists(st.tuples(st.sampled_from(sorted(KNOWN)), st.integers(1, 40)), max_size=8))
@settings(max_examples=60, deadline=None)
def test_B13_no_count_is_lost(named: list[tuple[str, int]]) -> None:
    found = counts([f"{model}:{count}" for model, count in named])
    assert found == {model: sum(n for one, n in named if one == model) for model, _ in named}


# rules


@pytest.mark.parametrize(
    ("given_threshold", "read"),
    [(80, 0.8), (80.5, 0.805), (100, 1.0), (2, 0.02), (1, 1.0), (1.0, 1.0), (0.8, 0.8), (0, 0.0)],
)
@pytest.mark.parametrize("way", ["define", "constructor", "saved row", "json"])
def test_B29_a_threshold_above_one_is_a_percentage_wherever_it_comes_in(
    given_threshold: float, read: float, way: str
) -> None:
    fields: dict[str, Any] = {"members": ({"model": "a"},), "confidence_threshold": given_threshold}
    built = {
        "define": lambda: define(**fields),
        "constructor": lambda: Consortium(members=(Member(model="a"),), confidence_threshold=given_threshold),
        "saved row": lambda: load_saved_form({"models": {"a": 1}, "confidence_threshold": given_threshold}),
        "json": lambda: Consortium.model_validate_json(json.dumps(fields)),
    }[way]()
    assert built.confidence_threshold == pytest.approx(read)


@pytest.mark.parametrize("threshold", [-0.1, 100.1, 1000, 10**400, float("nan"), float("inf"), "much"])
def test_B29_a_threshold_out_of_range_is_refused_with_the_range(threshold: object) -> None:
    assert "between 0 and 1, or a percentage up to 100" in refusal(confidence_threshold=threshold)


@pytest.mark.parametrize("name", ["max_iterations", "min_iterations"])
@pytest.mark.parametrize("value", [0, -1, MAX_ITERATIONS + 1, 1.5])
def test_B29_iterations_out_of_range_are_refused_by_name(name: str, value: object) -> None:
    assert re.search(rf"{name} is {value}", refusal(**{name: value}))


def test_B29_minimum_above_maximum_wins_as_in_the_seed() -> None:
    assert panel(max_iterations=2, min_iterations=4).iteration_limit == 4


@pytest.mark.parametrize(
    ("stated", "rules"),
    [
        ({}, {"min_iterations": 10, "max_iterations": 1}),
        ({"min_iterations": 2, "max_iterations": 2}, {"max_iterations": 1}),
        ({"min_iterations": 1, "max_iterations": 2}, {"min_iterations": 3}),
    ],
)
def test_a_minimum_above_a_maximum_is_refused_where_both_were_stated(
    stated: dict[str, int], rules: dict[str, int]
) -> None:
    with pytest.raises(InvalidConsortiumError, match=r"min_iterations is \d+ and max_iterations is \d+: give"):
        panel(**stated).with_rules(rules)


def test_a_minimum_alone_raises_the_default_maximum() -> None:
    assert panel().with_rules({"min_iterations": 5}).iteration_limit == 5


def test_the_defaults_are_the_seeds() -> None:
    ours, seeds = define(members=[{"model": "a"}]), SeedConfig(models={"a": 1})
    assert (ours.confidence_threshold, ours.max_iterations, ours.min_iterations, ours.system_prompt, ours.arbiter) == (
        seeds.confidence_threshold,
        seeds.max_iterations,
        seeds.minimum_iterations,
        seeds.system_prompt,
        seeds.arbiter,
    )


def test_a_field_that_is_none_keeps_its_default() -> None:
    assert panel(confidence_threshold=None, max_iterations=None) == panel()


@pytest.mark.parametrize(
    "fields",
    [
        {"members": [{"model": ""}]},
        {"members": "a"},
        {"members": [5]},
        {"members": None},
        {"thresold": 0.5},
        {"members": [{"model": "a", "option": {}}]},
        {"confidence_threshold": "x" * 10_000},
        {"max_iterations": "many\nlines"},
        {"models": {"a": 1}},
    ],
)
def test_a_broken_rule_is_told_in_one_short_sentence(fields: dict[str, Any]) -> None:
    assert re.fullmatch(r"Consortium not valid: [^\n]{5,200}\.", refusal(**fields))


def test_a_consortium_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        panel().max_iterations = 5


# saved rows


def test_a_row_that_the_seed_wrote_loads() -> None:
    assert load_saved_form(SEED_ROW) == SEED_CONSORTIUM


def test_a_row_of_a_later_release_loads_without_what_is_unknown_here() -> None:
    later = {"strategy": "default", "judging_method": "default", "strategy_params": {}, "embedding_backend": "x"}
    loaded = load_saved_form(SEED_ROW | later | {"manual_context": False, "category": None, "status": "ok"})
    assert loaded == load_saved_form(SEED_ROW)


def test_a_saved_row_is_read_by_the_seed() -> None:
    members = [{"model": "gpt-5", "count": 2}, {"model": "b", "options": {"temperature": 0}}, {"model": "gpt-5"}]
    ours = panel(members=members, min_iterations=2, confidence_threshold=85)
    assert SeedConfig.model_validate(ours.saved_form()) == SeedConfig(
        models={"gpt-5": 3, "b": 1}, arbiter="judge", confidence_threshold=0.85, minimum_iterations=2
    )


@given(CONSORTIUMS)
@settings(max_examples=80, deadline=None)
def test_a_saved_row_is_read_back_as_it_was(consortium: Consortium) -> None:
    assert load_saved_form(json.loads(json.dumps(consortium.saved_form()))) == consortium


@given(
    st.dictionaries(st.sampled_from([*Consortium.model_fields, "models", "minimum_iterations", "x"]), JSON, max_size=5)
)
@settings(max_examples=200, deadline=None)
def test_a_damaged_row_raises_nothing_but_invalid_consortium(row: dict[str, Any]) -> None:
    try:
        loaded = load_saved_form(row)
    except InvalidConsortiumError as error:
        assert "\n" not in str(error)
    else:
        assert loaded.members


# cycles


def of(*models: str) -> Consortium:
    """A consortium of these models, judged by a model of its own."""
    return panel(*models, arbiter="plain")


def test_B22_a_consortium_that_contains_itself_is_found() -> None:
    assert find_cycle("x", of("a", "x"), {}) == ["x", "x"]


def test_B22_an_arbiter_counts_as_well() -> None:
    assert find_cycle("x", panel("a", arbiter="y"), {"y": panel("a", arbiter="x")}) == ["x", "y", "x"]


@pytest.mark.parametrize("depth", [2, 3, 50])
def test_B22_a_cycle_is_found_at_any_depth(depth: int) -> None:
    saved = {f"c{n}": of("a", f"c{(n + 1) % depth}") for n in range(depth)}
    assert find_cycle("c0", saved["c0"], saved) == [*saved, "c0"]


def test_B22_one_that_has_no_name_is_refused_when_what_it_uses_has_a_cycle() -> None:
    assert find_cycle(None, of("a", "y"), {"y": of("z"), "z": of("y")}) == ["y", "z", "y"]


def test_B22_the_definition_stands_in_for_the_saved_one_of_its_name() -> None:
    assert find_cycle("x", of("a"), {"x": of("x"), "y": of("x")}) is None


def test_B22_using_one_consortium_twice_is_no_cycle() -> None:
    assert find_cycle("x", panel("y", "z", "y", arbiter="z"), {"y": of("z"), "z": of("a")}) is None


def test_B22_sixty_shared_levels_are_checked_in_time() -> None:
    saved = {f"c{n}": panel(f"c{n + 1}", f"c{n + 1}", arbiter=f"c{n + 1}") for n in range(60)}
    assert find_cycle("x", of("c0"), saved) is None


@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=3), min_size=7, max_size=7))
@settings(max_examples=150, deadline=None)
def test_B22_a_cycle_is_found_where_there_is_one_and_only_there(graph: list[list[int]]) -> None:
    saved = {f"c{n}": of(*(f"c{used}" if used < 6 else "model" for used in uses)) for n, uses in enumerate(graph[:6])}
    reached = {f"c{n}": {member.model for member in one.members} & set(saved) for n, one in enumerate(saved.values())}
    for _ in saved:
        reached = {name: uses.union(*(reached[used] for used in uses)) for name, uses in reached.items()}
    circular = any(used in reached[used] for used in reached["c0"] | {"c0"})

    assert (find_cycle("c0", saved["c0"], saved) is not None) == circular


@given(st.lists(st.lists(st.integers(0, 6), min_size=1, max_size=3), min_size=7, max_size=7))
@settings(max_examples=100, deadline=None)
def test_B22_the_path_that_is_shown_is_a_real_one(graph: list[list[int]]) -> None:
    saved = {f"c{n}": of(*(f"c{used}" for used in uses)) for n, uses in enumerate(graph)}
    path = find_cycle("c0", saved["c0"], saved) or []
    steps = zip(path, path[1:], strict=False)
    assert (
        path
        and path[-1] in path[:-1]
        and all(used in [member.model for member in saved[user].members] for user, used in steps)
    )
