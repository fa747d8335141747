"""Masks secrets in stored and shown texts: the keys of this machine, and text that looks like a key."""

import json
import os
import re
from base64 import b64encode
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from consortium_mcp.settings import llm_user_path, settings_in_use

LEAST_CHARACTERS = 8
"""The shortest secret; a shorter value may occur in any word."""

_LOOKS_SECRET = re.compile(
    r"""(?ix)
      \b (sk-|key-|gsk_|xai-|hf_|pplx-|nvapi-|gh[oprsu]_|github_pat_|glpat-|xox[abprs]-|[prs]k_live_|ya29\.|AIza
        |api[_-]?key\s+) [\w*.\-]{6,}
    | (?<![^\W_]) ((?:key|access_?token|refresh_?token|auth_?token)["']?\s*[=:]\s*["']?) [\w*.\-+/=~]{6,}
    | (?<![^\W_]) ((?:secret|password|passwd|passphrase|pwd)["']?\s*[=:]\s*["']?) [^\s"'&,;]{4,}
    | \b ((?:bearer|basic)\s+) (?=\S*[\d=+/]) [\w*.\-+/=~]{6,}
    | \b (token\s+) (?=[a-z_.\-]*\d) (?=[\d_.\-]*[a-z]) [\w.\-+/=~]{8,}
    | (?<=://) ([^\s/@:"']{0,100}:) [^\s/@"']{1,200} (?=@)
    | \b (A[KS]IA) [A-Z\d]{16} \b
    | (?<![\w\-.]) (eyJ) [\w\-]{6,}\.[\w\-]{6,}(?:\.[\w\-]*)*
    | (-----BEGIN\ (?:[A-Z]{1,20}\ )?PRIVATE\ KEY-----) [^-]+
    """
)
_SECRET_NAME = re.compile(r"(?i)(key|token|secret|password|passwd|credentials?)$")


def masked(text: str, *secrets: str | None) -> str:
    """The text with an ellipsis for each secret in it.

    A known secret is found in any letter case, in base64, in its URL and JSON forms, and if the end of the text cuts
    it.

    Args:
        secrets: known secrets besides llm's keys, the environment's and the settings'; None entries are ignored.
    """
    return without_secrets(text, {*_stored_keys(), *_environment_secrets(), *_token(), *filter(None, secrets)})


def without_secrets(text: str, secrets: Collection[str]) -> str:
    """The same for these secrets only; it reads no file, so it can run in an event loop."""
    if len(text) < LEAST_CHARACTERS:
        return text
    lowered = text.lower()
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= LEAST_CHARACTERS:
            shown = _without(text, lowered, secret)
            if shown != text:
                text, lowered = shown, shown.lower()
    return _LOOKS_SECRET.sub(lambda found: f"{next(filter(None, found.groups()))}…", text)


def _without(text: str, lowered: str, secret: str) -> str:
    """The text without any form of the secret."""
    for form in _forms(secret):
        if form in lowered:
            text = re.sub(re.escape(form), "…", text, flags=re.IGNORECASE)
    is_cut = any(lowered.endswith(secret.lower()[:kept]) for kept in range(LEAST_CHARACTERS, len(secret)))
    if is_cut and len(text) == len(lowered):
        text = f"{text[: lowered.rindex(secret.lower()[:LEAST_CHARACTERS])]}…"
    return text


@lru_cache(maxsize=256)
def _forms(secret: str) -> tuple[str, ...]:
    """The forms of a secret, in lower case, the longest first."""
    encoded = secret.encode(errors="replace")
    forms = {secret, quote(secret, safe=""), quote(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]}
    for before in range(3):  # in base64, the form of the secret depends on the bytes before it
        whole = b64encode(b"\0" * before + encoded).decode()
        part = whole[-(-before * 8 // 6) : (before + len(encoded)) * 8 // 6]
        forms |= {part, part.translate(str.maketrans("+/", "-_"))}
    return tuple(sorted({form.lower() for form in forms}, key=len, reverse=True))


def _environment_secrets() -> Iterator[str]:
    return (value for name, value in os.environ.items() if _SECRET_NAME.search(name))


def _token() -> Iterator[str]:
    settings = settings_in_use()
    if settings and settings.token:
        yield settings.token.get_secret_value()


def _stored_keys() -> tuple[str, ...]:
    """The values in llm's `keys.json`; empty if it cannot be read."""
    path = llm_user_path() / "keys.json"
    try:
        return _read_keys(path, path.stat().st_mtime_ns)
    except (OSError, ValueError):
        return ()


@lru_cache(maxsize=4)
def _read_keys(path: Path, changed_ns: int) -> tuple[str, ...]:
    keys = json.loads(path.read_text(encoding="utf-8"))
    return tuple(value for value in keys.values() if isinstance(value, str)) if isinstance(keys, dict) else ()
