"""The texts for models: filled by name; the texts of people and models in them stay unchanged."""

import re
from collections.abc import Iterator
from importlib import resources
from string import Template
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consortium_mcp.records import Turn
from consortium_mcp.text import templates as texts
from consortium_mcp.text.templates import SHORT_TEXTS, clip, fill, load_template
from tests.scripted import ScriptedCalls, last_state, new_run, panel, verdict_text, verdicts

pytestmark = pytest.mark.anyio

FOLDER = resources.files("consortium_mcp") / "templates"
NAMES = sorted(file.name.removesuffix(".txt") for file in FOLDER.iterdir() if file.name.endswith(".txt"))
SHORT_NAMES = sorted(file.name.removesuffix(".txt") for file in (FOLDER / SHORT_TEXTS).iterdir())
TEXTS = [(name, short) for short, names in ((False, NAMES), (True, SHORT_NAMES)) for name in names]

DEBATE = {"strategy": "debate"}

HOSTILE = "{prompt} {0} {} {{x}} $prompt ${mark} $$ $1 %s %(x)s \\1 \\g<0> {synthesis!r:>{9}}"


@pytest.fixture
def a_template(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Replaces our folder by another package's; a test writes `templates/mine.txt` there."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "templates").mkdir()
    monkeypatch.setattr(resources, "files", lambda _: folder)
    load_template.cache_clear()
    yield str(folder / "templates" / "mine.txt")
    load_template.cache_clear()


@pytest.mark.parametrize(("name", "short"), TEXTS)
def test_B18_every_template_file_loads_and_has_only_named_placeholders(name: str, short: bool) -> None:
    template = load_template(name, short)
    assert template.is_valid() and template.substitute(dict.fromkeys(template.get_identifiers(), "x"))


@pytest.mark.parametrize("short", [False, True])
async def test_every_template_of_a_question_is_filled_by_the_code(monkeypatch: pytest.MonkeyPatch, short: bool) -> None:
    used: set[tuple[str, bool]] = set()
    real = load_template.__wrapped__

    def load(name: str, short: bool = False) -> Template:
        used.add((name, short))
        return real(name, short)

    monkeypatch.setattr(texts, "load_template", load)
    models: dict[str, Any] = {"short_text_models": {"a", "b", "judge"} if short else set()}
    for rules in [{"judging_method": name} for name in ("synthesize", "pick", "rank", "peer_rank")] + [DEBATE]:
        run = new_run(consortium=panel(system_prompt=None, max_iterations=2, **rules), **models)
        for reads_schema in (True, False):
            await last_state(run, ScriptedCalls(arbiter=verdict_text(confidence=0.1)), reads_schema)
    further: list[dict[str, Any]] = [
        {"judging_method": "review"},
        {"judging_method": "choose", "choices": ["Paris", "Rome"]},
    ]
    for fields in further:
        for reads_schema in (True, False):
            await last_state(new_run(consortium=panel(**fields), **models), ScriptedCalls(), reads_schema)
    await last_state(run, ScriptedCalls(arbiter="no verdict"))
    await last_state(new_run(consortium=panel(system_prompt="Be brief."), **models), ScriptedCalls())
    if not short:
        await last_state(new_run(output_schema={"type": "object"}), ScriptedCalls())
        grouped = new_run(consortium=panel(judging_method="vote", group_answers=True, arbiter="judge"))
        for reads_schema in (True, False):
            await last_state(grouped, ScriptedCalls(m1="a large dog", m2="a big hound"), reads_schema)
    assert {one for one in used & set(TEXTS) if one[1] == short} == {
        (name, of) for name, of in TEXTS if of == short and not name.startswith("prompt_")
    }  # tests/doors/test_prompts.py fills those


async def test_the_short_texts_reach_the_models_that_need_them_alone() -> None:
    call = ScriptedCalls(verdicts(verdict_text(confidence=0.1), verdict_text()))
    await last_state(new_run(consortium=panel(max_iterations=2), short_text_models={"b"}), call)
    requests: dict[str, str] = {spec.call_id: (spec.system or "").rpartition("\n\n")[2] for spec in call.asked}
    forms = {name: fill("member_form", short).rpartition("\n\n")[2] for name, short in (("a", False), ("b", True))}
    assert [requests[f"i{number}/m{place}"] for number in (1, 2) for place in (1, 2)] == [forms["a"], forms["b"]] * 2
    assert ["Improve on it" in call.question(f"i2/m{place}").prompt for place in (1, 2)] == [False, True]
    assert ["How to judge" in call.question(f"i{number}/arbiter").prompt for number in (1, 2)] == [True, True]


@pytest.mark.parametrize("reads_schema", [True, False])
async def test_B14_braces_and_dollars_of_people_and_models_survive_every_question(reads_schema: bool) -> None:
    run = new_run(
        prompt=f"prompt {HOSTILE}",
        consortium=panel(system_prompt=f"system {HOSTILE}", max_iterations=2),
        history=[Turn(role="user", text=HOSTILE)],
    )
    fields = {"dissent": f"dissent {HOSTILE}", "refinement_areas": [f"area {HOSTILE}"]}
    reply = verdict_text(f"synthesis {HOSTILE}", 0.1, **fields)
    call = ScriptedCalls(lambda spec: reply if "arbiter" in spec.call_id else f"response {HOSTILE}")
    await last_state(run, call, reads_schema)

    member, arbiter = call.question("i2/m1").prompt, call.question("i2/arbiter").prompt
    in_member = [f"{what} {HOSTILE}" in member for what in ("prompt", "synthesis", "dissent", "area")]
    in_arbiter = [f"{what} {HOSTILE}" in arbiter for what in ("prompt", "synthesis", "system", "area", "response")]
    assert all(in_member) and all(in_arbiter)


@given(st.text(max_size=40), st.text(max_size=40))
@settings(max_examples=60, deadline=None)
def test_B14_a_value_is_never_read_for_placeholders(synthesis: str, dissent: str) -> None:
    filled = fill("refine", prompt="$synthesis", source=synthesis, mark="${", confidence="$x", quoted=dissent)
    assert filled.startswith("$synthesis\n") and synthesis in filled and dissent in filled


@pytest.mark.parametrize(("name", "short"), [text for text in TEXTS if load_template(*text).get_identifiers()])
def test_B14_a_missing_placeholder_raises(name: str, short: bool) -> None:
    with pytest.raises(KeyError):
        fill(name, short)


@pytest.mark.parametrize("content", ["", " \n\t\n"])
def test_B14_an_empty_template_is_refused(a_template: str, content: str) -> None:
    with open(a_template, "w") as file:
        file.write(content)
    with pytest.raises(ValueError, match=r"mine\.txt is empty; reinstall"):
        load_template("mine")


def test_B18_a_template_that_is_not_there_raises() -> None:
    with pytest.raises(FileNotFoundError):
        load_template("nothing-of-this-name")


def test_B14_braces_in_a_template_are_text(a_template: str) -> None:
    with open(a_template, "w") as file:
        file.write('{"synthesis": "$answer", {}} {0}')
    assert fill("mine", answer="x") == '{"synthesis": "x", {}} {0}'


def test_a_text_within_its_limit_is_not_clipped() -> None:
    assert clip("x" * 30, 30) == "x" * 30


def test_a_longer_text_keeps_its_beginning_and_its_end_and_says_how_much_is_missing() -> None:
    clipped = clip("a" * 500 + "b" * 500, 90)
    assert re.sub(r"\s", "", clipped) == "a" * 60 + "[…910characterscut…]" + "b" * 30


@given(st.text(max_size=200), st.integers(3, 300))
@settings(max_examples=80, deadline=None)
def test_a_clipped_text_is_hardly_longer_than_its_limit(text: str, limit: int) -> None:
    assert len(clip(text, limit)) <= limit + len("\n[… 1000 characters cut …]\n")
