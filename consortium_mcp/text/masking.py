"""Secrets in texts that are kept or shown: the keys that this machine knows, and whatever looks like one."""

import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from consortium_mcp.settings import llm_user_path, settings_in_use

LEAST_CHARACTERS = 8
"""A shorter value is no key, and may stand in any word."""

_LOOKS_SECRET = re.compile(
    r"(?i)\b(sk-|key-|gsk_|xai-|hf_|pplx-|nvapi-|ghp_|AIza|(?:api[_-]?)?key[=:]\s*|api[_-]?key\s+)[\w*.\-]{6,}"
    r"|\b(bearer\s+|basic\s+)(?=\S*[\d=+/])[\w*.\-+/=~]{6,}"
)
_SECRET_NAME = re.compile(r"(?i)(key|token|secret|password)$")


def masked(text: str, *secrets: str | None) -> str:
    """The text with an ellipsis for each secret in it.

    Args:
        secrets: values that are known to be some beside llm's keys, the environment's and the settings'; None is none.
    """
    known = {*_stored_keys(), *_environment_secrets(), *_token(), *filter(None, secrets)}
    for secret in sorted(known, key=len, reverse=True):
        if len(secret) >= LEAST_CHARACTERS:
            text = text.replace(secret, "…")
    return _LOOKS_SECRET.sub(lambda found: f"{found[1] or found[2]}…", text)


def _environment_secrets() -> Iterator[str]:
    return (value for name, value in os.environ.items() if _SECRET_NAME.search(name))


def _token() -> Iterator[str]:
    settings = settings_in_use()
    if settings and settings.token:
        yield settings.token.get_secret_value()


def _stored_keys() -> tuple[str, ...]:
    """The values of llm's `keys.json`; none where it cannot be read."""
    path = llm_user_path() / "keys.json"
    try:
        return _read_keys(path, path.stat().st_mtime_ns)
    except (OSError, ValueError):
        return ()


@lru_cache(maxsize=4)
def _read_keys(path: Path, changed_ns: int) -> tuple[str, ...]:
    keys = json.loads(path.read_text(encoding="utf-8"))
    return tuple(value for value in keys.values() if isinstance(value, str)) if isinstance(keys, dict) else ()
