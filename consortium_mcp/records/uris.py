"""The URIs of the MCP resources, written and parsed in one place."""

from urllib.parse import quote

CONSORTIUMS = "consortium://consortiums"
MODELS = "consortium://models"
STATS = "consortium://stats"
RUNS = "consortium://runs"


LONGEST_URI = 1_300
"""The longest URI: a consortium's name can have 100 characters, each of up to twelve in a URI."""


def is_ours(uri: str) -> bool:
    """Whether a URI can belong to our resources, whether or not the resource exists."""
    fixed = (CONSORTIUMS, MODELS, STATS, RUNS)
    return len(uri) <= LONGEST_URI and (uri in fixed or uri.startswith((f"{CONSORTIUMS}/", f"{RUNS}/")))


def consortium_uri(name: str) -> str:
    """The URI of a saved definition."""
    return f"{CONSORTIUMS}/{quote(name, safe='')}"


def run_uri(run_id: str) -> str:
    """The URI of a run's record."""
    return f"{RUNS}/{run_id}"


def transcript_uri(run_id: str) -> str:
    """The URI of a run's transcript."""
    return f"{run_uri(run_id)}/transcript.md"


def iteration_uri(run_id: str, number: int) -> str:
    """The URI of one iteration of a run."""
    return f"{run_uri(run_id)}/iterations/{number}"
