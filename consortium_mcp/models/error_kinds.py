"""The kind of a failure from the provider's error: by its status, then its codes, then its words."""

import re

from consortium_mcp.models.error_words import NO_PLACE
from consortium_mcp.models.provider_errors import body_of, codes_of, is_page, said_by, wait_in
from consortium_mcp.records import ErrorKind

_BY_STATUS: dict[int, ErrorKind] = {
    401: "auth",
    402: "billing",
    404: "model_unavailable",
    405: "invalid_request",
    407: "network",
    408: "timeout",
    409: "server",
    410: "model_unavailable",
    413: "context_length",
    425: "server",
    451: "model_unavailable",
    498: "rate_limit",
}
"""Statuses with one meaning; those of 500 and above are server errors."""

_UNLESS_SAID: dict[int, ErrorKind] = {403: "auth", 429: "rate_limit"}
"""The meaning of other statuses if neither codes nor words say more."""

# Codes in providers' error bodies: OpenAI's and those of its kind, Anthropic's, Gemini's, Mistral's, OpenRouter's.
_BY_CODE: dict[str, ErrorKind] = {
    "insufficient_quota": "billing",
    "insufficient_balance": "billing",
    "insufficient_credits": "billing",
    "billing_error": "billing",
    "billing_hard_limit_reached": "billing",
    "billing_not_active": "billing",
    "exceeded_current_quota_error": "billing",
    "arrearage": "billing",  # DashScope's
    "1113": "billing",  # Zhipu's
    "invalid_api_key": "auth",
    "api_key_invalid": "auth",
    "authentication_error": "auth",
    "permission_error": "auth",
    "permission_denied": "auth",
    "unauthenticated": "auth",
    "unsupported_country_region_territory": "model_unavailable",
    "model_not_found": "model_unavailable",
    "model_decommissioned": "model_unavailable",
    "model_terms_required": "model_unavailable",
    "model_not_available": "model_unavailable",
    "model_not_supported": "model_unavailable",
    "not_found_error": "model_unavailable",
    "context_length_exceeded": "context_length",
    "exceed_context_size_error": "context_length",
    "string_above_max_length": "context_length",
    "request_too_large": "context_length",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "moderation_blocked": "content_filter",
    "data_inspection_failed": "content_filter",
    "1301": "content_filter",  # Zhipu's
    "tool_use_failed": "invalid_reply",  # Groq's: the model called a tool, and none was offered
    "rate_limit_exceeded": "rate_limit",
    "rate_limit_error": "rate_limit",
    "too_many_requests": "rate_limit",
    "resource_exhausted": "rate_limit",
    "capacity_exceeded": "rate_limit",
    "overloaded_error": "server",
    "server_error": "server",
    "internal_server_error": "server",
    "api_error": "server",
    "internal": "server",
    "unavailable": "server",
    "unavailable_error": "server",
    "deadline_exceeded": "timeout",
    "timeout_error": "timeout",
}

_BY_WORDS: tuple[tuple[str, ErrorKind], ...] = (
    (r"unexpected endpoint or method|invalid url", "invalid_request"),
    (
        r"credit balance|insufficient (credit|balance|fund|quota)|out of credit|billing|payment required|"
        r"(requires|need) more credits|exceeded your.{0,30}credits|spend(ing)? limit|have any credits|"
        r"purchase credits|all available credits|requires a subscription",
        "billing",
    ),
    (
        r"(maximum|max|available) (context|model)|context (length|window|size)|prompt is too long|too many tokens|"
        r"input (token count|is too long|length)|exceeds? the (maximum|model).{0,40}(tokens|length)|"
        r"reduce the length|max_model_len|maximum prompt length|request too large|exceeded model token limit|"
        r"max_new_tokens. must be <=|must have less than \d+ tokens|prompt exceeds max|"
        r"(prompt token count|number of input tokens).{0,40}exceed",
        "context_length",
    ),
    (
        r"moderation|flagged|content (management )?(policy|filter)|content_filter|safety (system|filter|polic)|"
        r"usage polic|inappropriate content|content exists risk",
        "content_filter",
    ),
    (
        r"(country|region|territory|location).{0,40}(not |un)(supported|available|allowed)|"
        r"not (supported|available) in your (country|region)",
        "model_unavailable",
    ),
    (
        r"api[ _-]?key|log ?in fail|unauthori[sz]ed|authenticat|permission",
        "auth",
    ),
    (
        r"model.{0,120}(not (found|exist|available|supported)|does not exist|unknown|decommissioned|deprecated)|"
        r"model.{0,60}(identifier is invalid|isn.t supported)|access to the model|model agreement|on-demand throughput|"
        r"(no such|unknown|invalid) model|not a valid model|try pulling it|no endpoints found|no allowed providers|"
        r"not found.{0,20}model",
        "model_unavailable",
    ),
    (
        r"rate.?limit|too many requests|quota|requests per|tokens per",
        "rate_limit",
    ),
    (
        r"overloaded|unavailable|bad gateway|internal (server )?error|capacity|loading model|try again later",
        "server",
    ),
    (
        r"timed? ?out|deadline exceeded",
        "timeout",
    ),
)
"""Phrases in providers' messages, the more certain ones first."""

_REQUESTS_FAULT = (400, 422)
"""Statuses that blame the request, not the server."""

_PASSING = re.compile(
    r"overloaded|capacity|loading model|try again|temporarily|(service|server) (is )?unavailable", re.IGNORECASE
)
"""The phrases of gateways that report a passing server fault with such a status."""


def kind_of_status(status: int, error: BaseException, said: str) -> ErrorKind:
    """The kind by the status if that is specific enough, else by the codes, then by the words."""
    if status >= 500:
        return "server"
    if status == 404 and _blames_path(error, said):
        return "invalid_request"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status < 300:
        return kind_said(error, said) or "invalid_reply"
    if status in _REQUESTS_FAULT and kind_said(error, said) == "server" and not _PASSING.search(said):
        return "invalid_request"  # "this response_format is unavailable"
    if status == 403 and is_page(error):
        return "invalid_request"
    if status == 429:  # about money, or passing
        return "billing" if kind_said(error, said) == "billing" else "rate_limit"
    return kind_said(error, said or said_by(error)) or _UNLESS_SAID.get(status, "invalid_request")


def _blames_path(error: BaseException, said: str) -> bool:
    """Whether a 404 means the requested path, not the model."""
    if NO_PLACE.search(said):
        return True
    is_of_provider = isinstance(body_of(error), dict | list)
    return not is_of_provider and _named_in(str(error)) != "model_unavailable"


def kind_said(error: BaseException, said: str) -> ErrorKind | None:
    """The kind by the codes; by the words if the codes say nothing."""
    for code in codes_of(error):
        if code in _BY_CODE:
            return _BY_CODE[code]
    return _named_in(said)


def _named_in(words: str) -> ErrorKind | None:
    return next((kind for pattern, kind in _BY_WORDS if re.search(pattern, words, re.IGNORECASE)), None)


def kind_of_words(words: str) -> ErrorKind:
    """The kind of a plugin's own error that has only the provider's words, as in llm-gemini."""
    kind = _named_in(words) or "invalid_reply"
    # Gemini mentions billing also in errors about a request limit that soon resets; these say when.
    return "rate_limit" if kind == "billing" and wait_in(words) is not None else kind
