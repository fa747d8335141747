"""The models and their names, and one clear sentence for each reason why one cannot be called."""

import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from pathlib import Path
from typing import Any

import llm
import pytest
from llm.plugins import pm

from consortium_mcp import consult
from consortium_mcp.errors import ModelUnavailableError
from consortium_mcp.models.catalogue import Catalogue, RecentCatalogue, load_catalogue, package_of
from consortium_mcp.records.consortium import Consortium, Member
from consortium_mcp.service.service import ConsortiumService
from consortium_mcp.settings import load_settings
from tests.plugins import install_plugin
from tests.provider import Provider
from tests.scripted import asking

Register = Callable[..., None]
AddPlugin = Callable[[str, Callable[[Register], None]], None]


class KeyedModel(llm.Model):
    """A model that cannot be called without a key."""

    model_id = "keyed"
    needs_key = "keyed-service"
    key_env_var = "KEYED_SERVICE_TOKEN"

    class Options(llm.Options):
        """What it can be told."""

        temperature: float | None = None

    def execute(self, *_: Any) -> Iterator[str]:
        """Never called here."""
        raise AssertionError("the model was called")


@pytest.fixture
def add_plugin() -> Iterator[AddPlugin]:
    """Installs llm plugins for one test: a name, and what it does when it is asked for its models."""
    added: list[object] = []

    def add(name: str, register_models: Callable[[Register], None]) -> None:
        class Plugin:
            @llm.hookimpl
            def register_models(self, register: Register) -> None:
                register_models(register)

        added.append(Plugin())
        pm.register(added[-1], name=name)

    yield add
    for plugin in added:
        pm.unregister(plugin)


def why_unusable(name: str, allowed: tuple[str, ...] = ()) -> str:
    with pytest.raises(ModelUnavailableError) as caught:
        load_catalogue().usable(name, allowed)
    return str(caught.value)


# names


@pytest.mark.usefixtures("provider")
@pytest.mark.parametrize("name", ["llama3:8b", "vendor/model:free"])
def test_B12_an_id_with_a_colon_is_one_name(name: str) -> None:
    assert load_catalogue().usable(name).model_id == name


@pytest.mark.usefixtures("provider")
async def test_B12_models_with_a_colon_are_asked_by_their_whole_name_and_counted_after_it(provider: Provider) -> None:
    await consult("why?", models=["llama3:8b", "vendor/model:free:2"], arbiter="arbiter", max_iterations=1)

    assert (provider.count("llama3:8b"), provider.count("vendor/model:free")) == (1, 2)


def test_a_plugins_aliases_are_names(add_plugin: AddPlugin) -> None:
    add_plugin("keyed-plugin", lambda register: register(KeyedModel(), aliases=("k", "key:ed")))

    catalogue = load_catalogue()
    assert [getattr(catalogue.find(name), "model_id", None) for name in ("k", "key:ed")] == ["keyed", "keyed"]


def test_the_users_own_aliases_are_names(provider: Provider, llm_home: Path) -> None:
    (llm_home / "aliases.json").write_text(json.dumps({"best:one": "vendor/model:free", "gone": "no-such-model"}))

    catalogue = load_catalogue()
    assert (catalogue.usable("best:one").model_id, catalogue.knows("gone")) == ("vendor/model:free", False)


async def test_a_model_is_asked_by_its_alias(provider: Provider, llm_home: Path) -> None:
    (llm_home / "aliases.json").write_text(json.dumps({"best:one": "vendor/model:free"}))

    run = await consult("why?", models=["best:one"], arbiter="arbiter", max_iterations=1)

    assert (run.iterations[0].responses[0].label, provider.count("vendor/model:free")) == ("best:one#1", 1)


@pytest.mark.parametrize("content", ["{", "[1]", "3"])
def test_damaged_aliases_are_named_with_the_remedy(llm_home: Path, content: str) -> None:
    path = llm_home / "aliases.json"
    path.write_text(content)

    with pytest.raises(ModelUnavailableError) as caught:
        load_catalogue()
    assert str(caught.value).startswith(f"llm's file {path} is broken: ")


# what keeps a model from being called


@pytest.mark.usefixtures("provider")
def test_an_unknown_model_is_answered_with_those_that_are_like_it() -> None:
    assert why_unusable("llama3:9b") == (
        "llm knows no model 'llama3:9b'. Did you mean 'llama3:8b'? llm.get_models() lists those there are."
    )


def test_a_missing_key_names_the_model_and_the_remedy(add_plugin: AddPlugin) -> None:
    add_plugin("keyed-plugin", lambda register: register(KeyedModel()))

    assert why_unusable("keyed") == (
        "The model 'keyed' cannot be used: keyed (keyed-plugin): No key found - add one using "
        "'llm keys set keyed-service' or set the KEYED_SERVICE_TOKEN environment variable. "
        "llm.get_models() lists those there are."
    )


def test_a_key_in_llms_store_is_enough(add_plugin: AddPlugin, llm_home: Path) -> None:
    add_plugin("keyed-plugin", lambda register: register(KeyedModel()))
    (llm_home / "keys.json").write_text(json.dumps({"keyed-service": "secret"}))

    assert load_catalogue().usable("keyed").problem() is None


def test_a_key_in_the_environment_is_enough(add_plugin: AddPlugin, monkeypatch: pytest.MonkeyPatch) -> None:
    add_plugin("keyed-plugin", lambda register: register(KeyedModel()))
    monkeypatch.setenv("KEYED_SERVICE_TOKEN", "secret")

    assert load_catalogue().usable("keyed").problem() is None


def test_what_a_model_says_of_itself_is_passed_on(add_plugin: AddPlugin) -> None:
    model = KeyedModel()
    model.problem = lambda: "Its weights are missing: fetch them."  # type: ignore[attr-defined]
    add_plugin("keyed-plugin", lambda register: register(model))

    assert why_unusable("keyed").startswith("The model 'keyed' cannot be used: Its weights are missing: fetch them. ")


def test_keys_that_are_no_text_are_named_with_the_remedy(add_plugin: AddPlugin, llm_home: Path) -> None:
    add_plugin("keyed-plugin", lambda register: register(KeyedModel()))
    (llm_home / "keys.json").write_bytes(b'{"keyed-service": "\xff"}')

    why = why_unusable("keyed")

    assert (
        f"llm's file {llm_home / 'keys.json'} is broken: it cannot be read: " in why and "Correct the file, or" in why
    )


@pytest.mark.parametrize("method", ["problem", "get_key"])
def test_a_model_that_cannot_say_what_it_lacks_is_unusable_and_hides_no_other(
    provider: Provider, add_plugin: AddPlugin, method: str
) -> None:
    def broken() -> None:
        raise RuntimeError("no weights")

    model = KeyedModel()
    setattr(model, method, broken)
    add_plugin("keyed-plugin", lambda register: register(model))

    assert why_unusable("keyed") == (
        "The model 'keyed' cannot be used: keyed (keyed-plugin) cannot be read: RuntimeError: no weights; "
        "update the plugin or remove it. llm.get_models() lists those there are."
    )
    assert "a" in load_catalogue().usable_ids()


@pytest.mark.usefixtures("provider")
@pytest.mark.parametrize("name", ["a", "vendor/model:free"])
def test_allowed_models_are_patterns_of_ids(name: str) -> None:
    assert load_catalogue().usable(name, ("a", "vendor/*")).model_id == name


@pytest.mark.usefixtures("provider")
def test_a_model_outside_of_the_patterns_is_refused_with_what_is_allowed() -> None:
    assert why_unusable("b", ("a", "vendor/*")) == (
        "The model 'b' is not allowed here; allowed: a, vendor/* (CONSORTIUM_ALLOWED_MODELS)."
    )


def test_an_alias_does_not_get_around_the_patterns(provider: Provider, llm_home: Path) -> None:
    (llm_home / "aliases.json").write_text(json.dumps({"a-friend": "b"}))

    assert "The model 'b' is not allowed here" in why_unusable("a-friend", ("a*",))


@pytest.mark.parametrize(
    ("definition", "said"),
    [
        ({"models": ["a", "nobody"]}, "llm knows no model 'nobody'"),
        ({"models": ["a"], "arbiter": "nobody"}, "llm knows no model 'nobody'"),
        ({"models": ["a", "keyed"]}, "add one using 'llm keys set keyed-service'"),
        ({"models": ["a", "c"]}, "The model 'c' is not allowed here"),
    ],
)
async def test_nothing_is_paid_for_when_one_model_cannot_be_called(
    provider: Provider, add_plugin: AddPlugin, definition: dict[str, Any], said: str
) -> None:
    add_plugin("keyed-plugin", lambda register: register(KeyedModel()))
    settings = load_settings(None, allowed_models="a,b,keyed,arbiter")

    with pytest.raises(ModelUnavailableError, match=said):
        await consult("why?", settings=settings, **{"arbiter": "arbiter", **definition})
    assert provider.count() == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"temperatur": 0.5},
            r"a does not take the option 'temperatur' as given: Extra inputs are not permitted. "
            r"Its options: .*temperature",
        ),
        ({"temperature": "hot"}, r"a does not take the option 'temperature' as given: Input should be a valid number"),
    ],
)
def test_options_are_checked_before_any_call(
    provider: Provider, service: ConsortiumService, options: dict[str, Any], said: str
) -> None:
    members = (Member(model="b"), Member(model="a", options=options))

    with pytest.raises(ModelUnavailableError, match=said):
        service.opener.open_run(asking("why?", consortium=Consortium(members=members, arbiter="arbiter")))
    assert (provider.count(), service.store.runs.find.sync()) == (0, [])


# broken plugins


def raise_it(_: Register) -> None:
    raise RuntimeError("made for llm 0.1")


@pytest.mark.usefixtures("provider")
def test_a_plugin_that_raises_is_named_and_hides_no_other(add_plugin: AddPlugin) -> None:
    add_plugin("before", lambda register: register(KeyedModel()))
    add_plugin("llm-broken", raise_it)

    catalogue = load_catalogue()
    assert catalogue.broken_plugins == {"llm-broken": "RuntimeError: made for llm 0.1"}
    assert [catalogue.knows(name) for name in ("keyed", "a", "gpt-4o")] == [True, True, True]


@pytest.mark.parametrize(
    ("plugin", "package"),
    [("consortium", "consortium-mcp"), ("llm.default_plugins.openai_models", "llm"), ("llm-unknown", "llm-unknown")],
)
def test_the_package_of_a_plugin_is_what_pip_installs(llm_home: Path, plugin: str, package: str) -> None:
    load_catalogue()

    assert package_of(plugin) == package


def test_an_unknown_model_is_answered_with_the_broken_plugins_and_the_remedy(add_plugin: AddPlugin) -> None:
    add_plugin("llm-broken", raise_it)

    assert why_unusable("zzz") == (
        "llm knows no model 'zzz'. These llm plugins are broken (llm-broken: RuntimeError: made for llm 0.1): "
        "update them, or remove them with `llm uninstall`."
    )


def test_what_a_plugin_registered_before_it_raised_can_be_used(add_plugin: AddPlugin) -> None:
    def register_one_and_raise(register: Register) -> None:
        register(KeyedModel())
        raise_it(register)

    add_plugin("llm-broken", register_one_and_raise)

    assert load_catalogue().knows("keyed")


def test_a_model_that_is_only_asynchronous_hides_no_consortium_and_is_hidden_by_none(
    service: ConsortiumService, add_plugin: AddPlugin
) -> None:
    class OnlyAsync(llm.AsyncModel):
        model_id = "only-async"

        async def execute(self, *_: Any) -> AsyncGenerator[str, None]:
            """Never called here."""
            raise AssertionError("the model was called")
            yield ""

    for name in ("panel", "only-async"):
        service.store.consortiums.save.sync(name, Consortium(members=(Member(model="a"),), arbiter="a"))
    add_plugin("async-plugin", lambda register: register(None, OnlyAsync()))
    catalogue = load_catalogue()

    assert [entry.plugin for entry in catalogue.entries if entry.model_id == "only-async"] == ["async-plugin"]
    assert catalogue.knows("panel") and catalogue.broken_plugins == {}


def test_a_plugin_that_adapts_the_models_of_others_sees_them(provider: Provider) -> None:
    class Wrapper:
        @llm.hookimpl(trylast=True)
        def register_models(self, register: Register, model_aliases: list[Any]) -> None:
            seen.extend(one.model.model_id for one in model_aliases)

    seen: list[str] = []
    wrapper = Wrapper()
    pm.register(wrapper, name="wrapper")
    load_catalogue()
    pm.unregister(wrapper)

    assert "llama3:8b" in seen


HEALTHY = """
import llm

class Healthy(llm.Model):
    model_id = "healthy"
    def execute(self, prompt, stream, response, conversation):
        yield "well"

@llm.hookimpl
def register_models(register):
    register(Healthy())
"""


def test_a_plugin_that_cannot_be_imported_is_named_and_hides_no_other(provider: Provider, plugin_folder: Path) -> None:
    install_plugin(plugin_folder, "llm_broken", "raise ImportError('cannot import name Foo')")
    install_plugin(plugin_folder, "llm_healthy", HEALTHY)
    code = (
        "import json; from consortium_mcp.models.catalogue import load_catalogue\n"
        "first, again = load_catalogue(), load_catalogue()\n"
        "known = [name for name in ('healthy', 'a', 'gpt-4o') if first.knows(name)]\n"
        "print(json.dumps([first.broken_plugins, again.broken_plugins, known, str(first._unknown('zzz'))]))"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    broken = {"llm_broken": "ImportError: cannot import name Foo"}
    assert json.loads(seen.stdout) == [
        broken,
        broken,
        ["healthy", "a", "gpt-4o"],
        "llm knows no model 'zzz'. These llm plugins are broken (llm_broken: ImportError: cannot import name Foo): "
        "update them, or remove them with `llm uninstall`.",
    ]


def test_simultaneous_consults_share_a_catalogue_and_an_old_one_refuses_none(provider: Provider) -> None:
    recent = RecentCatalogue()
    first = recent.use(lambda catalogue: catalogue)
    again = recent.use(lambda catalogue: catalogue)
    looked_in: list[Catalogue] = []

    def need_new(catalogue: Catalogue) -> str:
        looked_in.append(catalogue)
        return catalogue.usable("new").model_id

    provider.write_llm_config(llm.user_dir(), ["a", "new"])
    found = recent.use(need_new)

    assert (first is again, found) == (True, "new") and looked_in[0] is first and len(looked_in) == 2
