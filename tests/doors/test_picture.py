"""The picture of the README shows what the command prints now."""

import shutil

import pytest

from tests.picture import CONSULT, PICTURES, THEMES, read_svg, record, shown_text


@pytest.fixture(scope="module")
def recorded() -> str:
    """A recording as the picture's, made now."""
    return shown_text(record())


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is the terminal of the recording")
@pytest.mark.parametrize("theme", THEMES)
def test_the_picture_shows_what_the_command_prints_on_a_terminal(theme: str, recorded: str) -> None:
    command, _, screen = read_svg((PICTURES / f"consult-{theme}.svg").read_text()).partition("\n")

    assert command == f"$ consortium-mcp {' '.join(CONSULT[:-1])} '{CONSULT[-1]}'"
    assert shown_text(screen) == recorded, "If meant: python -m tests.picture"


@pytest.mark.parametrize("theme", THEMES)
def test_the_picture_loads_nothing_from_another_server(theme: str) -> None:
    picture = (PICTURES / f"consult-{theme}.svg").read_text().replace("http://www.w3.org/2000/svg", "")

    assert "<title>" in picture and "http" not in picture and "@font-face" not in picture
