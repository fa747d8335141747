"""Whether two texts are the same text: blanks and case are ignored in prose, and significant in code."""

from collections.abc import Iterator

from consortium_mcp.text.answers.finding import lines_of


def same_text(one: str, other: str) -> bool:
    """Whether two texts are equal, except for blanks, line breaks and case outside code."""
    return one == other or list(_parts(one)) == list(_parts(other))


def _parts(text: str) -> Iterator[str]:
    """The prose between blocks of code, normalised, and the blocks as written."""
    prose: list[str] = []
    for line in lines_of(text):
        if line.language is None:
            prose += line.text.casefold().split()
        else:
            yield " ".join(prose)
            yield "\n".join([line.language, *(row.rstrip() for row in line.text.splitlines())])
            prose = []
    yield " ".join(prose)
