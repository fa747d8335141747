"""The models of the tests: an OpenAI-compatible endpoint on loopback with scripted answers, failures and waits.

It knows nothing of consortium_mcp; it is reached as any provider is, over HTTP, through llm's extra-openai-models.yaml.

    with Provider() as provider:
        provider.on("model-a", ["first answer", Fault.rate_limit(), "third answer"])
        folder = provider.write_llm_config(tmp_path, ["model-a"])      # LLM_USER_PATH
"""

from .answers import Answer, Fault, Reply, Request, Script, tagged_verdict, verdict
from .server import API_KEY, API_KEY_NAME, Gate, Provider

__all__ = [
    "API_KEY",
    "API_KEY_NAME",
    "Answer",
    "Fault",
    "Gate",
    "Provider",
    "Reply",
    "Request",
    "Script",
    "tagged_verdict",
    "verdict",
]
