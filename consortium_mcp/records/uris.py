"""The URIs of the MCP resources, written and read in one place."""

from urllib.parse import quote

CONSORTIUMS = "consortium://consortiums"
MODELS = "consortium://models"
STATS = "consortium://stats"
RUNS = "consortium://runs"


LONGEST_URI = 1_300
"""Characters of the longest: of a consortium whose name has 100 characters, each of which takes twelve in a URI."""


def is_ours(uri: str) -> bool:
    """Whether it can be the URI of a resource of ours, there or not."""
    fixed = (CONSORTIUMS, MODELS, STATS, RUNS)
    return len(uri) <= LONGEST_URI and (uri in fixed or uri.startswith((f"{CONSORTIUMS}/", f"{RUNS}/")))


def consortium_uri(name: str) -> str:
    """The resource that holds a saved definition."""
    return f"{CONSORTIUMS}/{quote(name, safe='')}"


def run_uri(run_id: str) -> str:
    """The resource that holds a run's record."""
    return f"{RUNS}/{run_id}"


def transcript_uri(run_id: str) -> str:
    """The resource that holds a run as a text to read."""
    return f"{run_uri(run_id)}/transcript.md"


def iteration_uri(run_id: str, number: int) -> str:
    """The resource that holds one iteration of a run."""
    return f"{run_uri(run_id)}/iterations/{number}"
