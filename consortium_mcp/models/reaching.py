"""Finds reasons why a model cannot be reached, before it is asked: key format, address, certificates, proxies.

Nothing is sent.
"""

import os
import ssl
import unicodedata
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies

_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""The certificate variables that our clients read."""

_OF_PLUGINS = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""The certificate variables that only some plugins' clients read."""

_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")


def key_problem(name: str, key: str) -> str | None:
    """Why a key cannot be sent, and what to do; None if it can. The key is not shown.

    Args:
        name: the key's name in llm.
    """
    wrong = next((char for char in key if not "!" <= char <= "~"), None)
    if wrong is None:
        is_quoted = len(key) > 1 and key[0] == key[-1] and key[0] in "\"'`"
        again = f"Set it again with `llm keys set {name}`, without them."
        return f"The key {name!r} stands in quotation marks. {again}" if is_quoted else None
    return f"The key {name!r} has {_named(wrong)} in it. Set it again with `llm keys set {name}`."


def address_problem(model_id: str, address: object) -> str | None:
    """Why a model's address is invalid, and what to do; None if it is valid, or the model has none of its own."""
    if not isinstance(address, str) or not address:
        return None
    try:
        parts = urlsplit(address)
        is_valid = parts.port != 0 and not any(map(str.isspace, address))
    except ValueError:
        is_valid = False
    if not is_valid:
        return f"The address {address!r} of {model_id} is no valid URL. Correct its api_base."
    if parts.scheme in ("http", "https") and parts.hostname:
        return None
    return f"The address {address!r} of {model_id} has no http:// or https://, or no host. Correct its api_base."


def certificates_problem() -> str | None:
    """Why our clients can trust no server, and what to do; None if they can."""
    return next(_missing(_CERTIFICATES), None) or _unreadable(os.environ.get("SSL_CERT_FILE"))


def plugin_certificates_problem() -> str | None:
    """The same for the clients of some plugins."""
    return next(_missing(_OF_PLUGINS), None)


def proxy_problem() -> str | None:
    """Why a proxy from the environment cannot be used, and what to do; None if all can, or there is none."""
    for scheme, proxy in sorted(getproxies().items()):
        if scheme == "no":
            continue
        try:
            parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
            is_address = parts.scheme in _PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_address = False
        if not is_address:
            return f"{_variable(scheme)} is not the address of a proxy. Correct it, or unset it."
        if parts.scheme.startswith("socks") and find_spec("socksio") is None:
            install = "`pip install 'consortium-mcp[socks]'` installs it"
            return f"{_variable(scheme)} names a SOCKS proxy, which needs a further package: {install}."
    return None


def proxies() -> list[str]:
    """The variables that name a proxy."""
    return sorted(_variable(scheme) for scheme in getproxies() if scheme != "no")


def proxy_named_in(words: str) -> str | None:
    """The variable whose proxy an error names by host and port; None if it names none."""
    for scheme, proxy in sorted(getproxies().items()):
        server = proxy.rpartition("//")[2].rpartition("@")[2].rstrip("/")
        if scheme != "no" and ":" in server and f" {server} " in words:
            return _variable(scheme)
    return None


def _unreadable(path: str | None) -> str | None:
    """The problem of a file without certificates; None without a file, or if it can be loaded."""
    if not path:
        return None
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError):
        return f"SSL_CERT_FILE names {path}, from which no certificates can be read. Correct it, or unset it."
    return None


def _missing(variables: tuple[str, ...]) -> Iterator[str]:
    for name in variables:
        path = os.environ.get(name)
        if path and not Path(path).exists():
            yield f"{name} names {path}, which does not exist. Correct it, or unset it."


def _named(char: str) -> str:
    """The name of a character."""
    if char in "\r\n":
        return "a line break"
    if char.isspace():
        return "a blank"
    name = unicodedata.name(char, "control character").lower()
    return f"a character that no key has ({name}, U+{ord(char):04X})"


def _variable(scheme: str) -> str:
    return f"{scheme.upper()}_PROXY"
