"""The providers whose keys users have, and the llm plugin for each; no provider is contacted."""

from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True)
class Provider:
    """A provider of models, and how llm reaches it."""

    name: str
    """The name of its key in llm; without a key, the provider's own name."""

    title: str
    """Its name for people."""

    package: str | None
    """The package of its llm plugin; None if llm reaches the provider without one."""

    variable: str | None
    """The environment variable with its key; None means that it needs no key."""

    named: tuple[str, ...]
    """Patterns of its models' names."""

    first: tuple[str, ...] = ()
    """Patterns of the models for a first consortium, the best one first; none means its first usable model."""

    address: str | None = None
    """The environment variable that sends its plugin to another address; None if it reads none."""

    @property
    def is_embedded(self) -> bool:
        """Whether its model runs in this process, so that it needs only our own extra and no plugin."""
        return self.name == "local"


PROVIDERS = (
    Provider("openai", "OpenAI", None, "OPENAI_API_KEY", ("gpt-*", "o1*", "o3*", "o4*"), ("gpt-5.?", "gpt-5")),
    Provider(
        "anthropic",
        "Anthropic",
        "llm-anthropic",
        "ANTHROPIC_API_KEY",
        ("claude*",),
        ("*claude-sonnet-*",),
        "ANTHROPIC_BASE_URL",
    ),
    Provider("gemini", "Google Gemini", "llm-gemini", "LLM_GEMINI_KEY", ("gemini*", "gemma-*"), ("*gemini-?.?-flash",)),
    Provider(
        "mistral",
        "Mistral",
        "llm-mistral",
        "LLM_MISTRAL_KEY",
        ("mistral*", "magistral*", "ministral*", "codestral*", "devstral*"),
        ("*mistral-large-latest",),
    ),
    Provider("deepseek", "DeepSeek", "llm-deepseek", "LLM_DEEPSEEK_KEY", ("deepseek*",), ("deepseek-chat",)),
    Provider("grok", "xAI Grok", "llm-grok", "XAI_API_KEY", ("grok*",), ("grok-4-latest",)),
    Provider("groq", "Groq", "llm-groq", "GROQ_API_KEY", ("groq*",), address="GROQ_BASE_URL"),
    Provider("openrouter", "OpenRouter", "llm-openrouter", "OPENROUTER_KEY", ("openrouter/*",)),
    Provider("perplexity", "Perplexity", "llm-perplexity", "LLM_PERPLEXITY_KEY", ("sonar*",), ("sonar",)),
    Provider("cohere", "Cohere", "llm-command-r", "COHERE_API_KEY", ("command-*",), ("command-a-*",)),
    Provider("github", "GitHub Models", "llm-github-models", "GITHUB_MODELS_KEY", ("github/*",)),
    Provider(
        "ollama", "Ollama", "llm-ollama", None, ("llama*", "qwen*", "phi*", "*:*b", "ollama/*"), address="OLLAMA_HOST"
    ),
    Provider("local", "the embedded model, without a key", "consortium-mcp[local]", None, ("consortium-local",)),
)
"""The known providers, each with the key name, variable and models of its plugin's release of 2026."""


def provider_named(name: str) -> Provider | None:
    """The provider with this name; None if it is not in the table."""
    return next((one for one in PROVIDERS if one.name == name), None)


def provider_of_model(model: str) -> Provider | None:
    """The provider that a model's name indicates; None if it indicates none."""
    name = model.lower()
    named = (one for one in PROVIDERS if any(fnmatchcase(name, pattern) for pattern in one.named))
    return next(named, provider_named(name.partition("/")[0]))
