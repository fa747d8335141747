"""Bearer tokens and their callers; only SHA-256 hashes are kept."""

import hashlib
import hmac
import logging
import re
import time
from typing import Protocol

import anyio
import anyio.to_thread
import jwt
from mcp.server.auth.provider import AccessToken, TokenVerifier

from consortium_mcp.errors import ConsortiumError
from consortium_mcp.settings import Settings

logger = logging.getLogger(__name__)

DEFAULT_CALLER = "default"
"""The name of the caller with the token in CONSORTIUM_TOKEN."""

_LINE = re.compile(r"([A-Za-z0-9._@-]{1,64}):([0-9a-fA-F]{64})")
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Algorithms of OAuth tokens: only asymmetric ones, because a public key must not be able to sign."""


_FETCH_SECONDS = 10
"""The time limit for fetching the issuer's keys."""

_COOLDOWN_SECONDS = 30
"""The shortest time between two fetches from the issuer, also after a failure."""

_OLD_SECONDS = 300
"""The age at which keys are fetched again: the time for which a revoked key may still be accepted."""

_OLDEST_SECONDS = 3600
"""The age up to which keys are accepted if the issuer cannot be reached."""


class Verifier(TokenVerifier, Protocol):
    """Identifies the caller of a token."""

    def reload(self) -> None:
        """Read changed sources again."""


def verifier_of(settings: Settings) -> Verifier | None:
    """The verifier of the settings; None if no token is required.

    Raises:
        ConsortiumError: a setting is missing, or the token file cannot be read.
    """
    verifiers: list[Verifier] = []
    if settings.token or settings.token_file:
        verifiers.append(KnownTokens(settings))
    if settings.oauth_issuer:
        verifiers.append(IssuedTokens(settings))
    return _AnyOf(verifiers) if verifiers else None


class KnownTokens:
    """The token of CONSORTIUM_TOKEN and those of the token file."""

    def __init__(self, settings: Settings) -> None:
        """Read the token file. Raises ConsortiumError if it cannot be read."""
        self._settings = settings
        self._names = self._read()

    def reload(self) -> None:
        """Read the file again; if it cannot be read, nothing changes. Raises ConsortiumError."""
        self._names = self._read()

    async def verify_token(self, token: str) -> AccessToken | None:
        """The caller of the token, compared with every known one, so that timing reveals nothing."""
        digest = _digest(token)
        found = [name for known, name in self._names.items() if hmac.compare_digest(known, digest)]
        return _access(found[0]) if found else None

    def _read(self) -> dict[str, str]:
        """The names by the SHA-256 of their tokens."""
        names: dict[str, str] = {}
        if self._settings.token:
            names[_digest(self._settings.token.get_secret_value())] = DEFAULT_CALLER
        for number, line in enumerate(self._lines(), start=1):
            if not line.strip() or line.startswith("#"):
                continue
            match = _LINE.fullmatch(line.strip())
            if match is None:
                raise ConsortiumError(
                    f"Line {number} of the token file {self._settings.token_file} is not `name:SHA-256 in hex`. "
                    'Compute the SHA-256 with: printf %s "$TOKEN" | sha256sum. A name has letters, digits and the '
                    "characters . _ @ -"
                )
            name, digest = match[1], match[2].lower()
            if names.setdefault(digest, name) != name:
                raise ConsortiumError(
                    f"The token file {self._settings.token_file} gives one token to {names[digest]} and {name}."
                )
        return names

    def _lines(self) -> list[str]:
        path = self._settings.token_file
        if path is None:
            return []
        try:
            return path.expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConsortiumError(f"The token file {path} cannot be read: {error}.") from error


class IssuedTokens:
    """Tokens that an OAuth issuer signed for this server."""

    def __init__(self, settings: Settings) -> None:
        """Use these settings. Raises ConsortiumError if one is missing."""
        if not settings.oauth_jwks_url or not settings.oauth_resource:
            raise ConsortiumError(
                "CONSORTIUM_OAUTH_ISSUER needs CONSORTIUM_OAUTH_JWKS_URL and CONSORTIUM_OAUTH_RESOURCE."
            )
        self._issuer, self._resource = settings.oauth_issuer, settings.oauth_resource
        try:
            self._keys = _IssuersKeys(settings.oauth_jwks_url)
        except jwt.PyJWKClientError as error:
            raise ConsortiumError(f"CONSORTIUM_OAUTH_JWKS_URL is not a URL of a key set: {error}") from error

    def reload(self) -> None:
        """Without effect: keys are fetched automatically."""

    async def verify_token(self, token: str) -> AccessToken | None:
        """The caller of the token, if the issuer signed it for this server and it has not expired."""
        try:
            key = await self._keys.key(jwt.get_unverified_header(token).get("kid", ""))
            claims = self._claims(token, key) if key else None
        except jwt.PyJWTError:
            return None
        if claims is None or not str(claims["sub"]).strip():
            return None
        return _access(f"oauth:{claims['sub']}", expires_at=claims["exp"])

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, str | int]:
        claims: dict[str, str | int] = jwt.decode(
            token,
            key,
            algorithms=list(_ALGORITHMS),
            audience=self._resource,
            issuer=self._issuer,
            options={"require": ["exp", "sub", "aud", "iss"]},
        )
        return claims


class _IssuersKeys:
    """The issuer's public keys, fetched once for all waiting requests; a known key needs no waiting."""

    def __init__(self, url: str) -> None:
        """Use this URL. Raises PyJWKClientError if it is invalid."""
        self._client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=_FETCH_SECONDS)
        self._fetching = anyio.Lock()
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched = self._tried = float("-inf")

    async def key(self, key_id: str) -> jwt.PyJWK | None:
        """The key with this id; None if the issuer has none, or cannot be reached."""
        if self._known(key_id) is None or (self._are_older_than(_OLD_SECONDS) and not self._fetching.locked()):
            async with self._fetching:
                if time.monotonic() > self._tried + _COOLDOWN_SECONDS:
                    await anyio.to_thread.run_sync(self._fetch)
        return self._known(key_id)

    def _known(self, key_id: str) -> jwt.PyJWK | None:
        return None if self._are_older_than(_OLDEST_SECONDS) else self._keys.get(key_id)

    def _are_older_than(self, seconds: float) -> bool:
        return time.monotonic() > self._fetched + seconds

    def _fetch(self) -> None:
        try:
            self._keys = {str(key.key_id): key for key in self._client.get_signing_keys()}
            self._fetched = time.monotonic()
        except (jwt.PyJWTError, OSError, ValueError) as error:  # the last two: the reply is incomplete, or is not JSON
            logger.error("The keys of the OAuth issuer cannot be fetched: %s", error)
        self._tried = time.monotonic()


class _AnyOf:
    def __init__(self, verifiers: list[Verifier]) -> None:
        self._verifiers = verifiers

    def reload(self) -> None:
        for verifier in self._verifiers:
            verifier.reload()

    async def verify_token(self, token: str) -> AccessToken | None:
        for verifier in self._verifiers:
            if access := await verifier.verify_token(token):
                return access
        return None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def _access(name: str, expires_at: object = None) -> AccessToken:
    """The data that the SDK keeps with the request: the name, and not the token."""
    return AccessToken(
        token="", client_id=name, scopes=[], expires_at=expires_at if isinstance(expires_at, int) else None
    )
