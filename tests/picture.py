"""The picture of the README: a recorded terminal, as two SVG files: `python -m tests.picture`.

The command is the real one, in a real terminal. The models are scripted: their texts stand here.
"""

import html
import io
import os
import re
import shlex
import tempfile
from pathlib import Path
from unittest import mock

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from consortium_mcp.settings import PREFIX
from tests.doors.test_cli import run_command
from tests.paths import ROOT
from tests.provider import Provider, verdict
from tests.terminal import Terminal

PICTURES = ROOT / "docs" / "pictures"
COLUMNS = 103  # no line of the example breaks within a word
MEMBERS = ("gpt-5", "claude-opus-5", "mistral-large")
ARBITER = "gemini-pro"
CHARACTER = 12.2  # the width that rich gives one
QUESTION = "Is it safe to retry a POST after a timeout?"
CONSULT = ("consult", "--consortium", "panel", QUESTION)

ANSWERS = {
    "gpt-5": "No. The server may have done the work before the timeout.\n\nConfidence: 0.9",
    "claude-opus-5": "No. Only an idempotency key makes the retry safe.\n\nConfidence: 0.85",
    "mistral-large": "Yes. A timeout means that the request was not handled.\n\nConfidence: 0.6",
}
VERDICT = verdict(
    "No. The server may have done the work before the timeout. Send an idempotency key, then a retry is safe.",
    confidence=0.88,
    dissent="One response says yes: it takes a timeout for proof that nothing was done.",
)

LIGHT = TerminalTheme(
    (255, 255, 255),
    (31, 35, 40),
    [
        (36, 41, 47),
        (207, 34, 46),
        (17, 99, 41),
        (77, 45, 0),
        (9, 105, 218),
        (130, 80, 223),
        (27, 124, 131),
        (87, 96, 106),
    ],
)
DARK = TerminalTheme(
    (13, 17, 23),
    (230, 237, 243),
    [
        (72, 79, 88),
        (255, 123, 114),
        (63, 185, 80),
        (210, 153, 34),
        (88, 166, 255),
        (188, 140, 255),
        (57, 197, 207),
        (177, 186, 196),
    ],
)
THEMES = {"light": LIGHT, "dark": DARK}

FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg" role="img">
<title>consortium-mcp consult: three members, an arbiter, one answer with its confidence and the dissent</title>
<style>
.{unique_id}-matrix {{ font: {char_height}px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace }}
{styles}
</style>
<defs><clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g></g>
</svg>
"""
"""rich's own format without fonts from another server."""


def record() -> str:
    """The screen after the command, with the escapes of its colours; llm's folder and the database are its own."""
    with tempfile.TemporaryDirectory() as made, Provider() as provider, mock.patch.dict(os.environ):
        folder = Path(made)
        os.environ["LLM_USER_PATH"] = str(provider.write_llm_config(folder, MEMBERS, schema=[ARBITER]))
        os.environ[f"{PREFIX}DATABASE"] = str(folder / "picture.db")
        for model, text in ANSWERS.items():
            provider.on(model, text)
        provider.on(ARBITER, VERDICT)
        saved = run_command("save", "panel", *(word for name in MEMBERS for word in ("-m", name)), "--arbiter", ARBITER)
        assert saved.returncode == 0, saved.stderr
        with Terminal(folder, *CONSULT, columns=COLUMNS) as terminal:
            assert terminal.wait_for_exit() == 0, terminal.screen
            return terminal.styled_screen.rstrip()


def shown_text(screen: str) -> str:
    """What can be read on a screen, without seconds and the id of the run, which differ in each recording."""
    text = re.sub(r"consortium://runs/\w+", "consortium://runs/RUN", Text.from_ansi(screen).plain)
    text = re.sub(r" *\d+\.\d(?= s| │)", " N", text)
    return "".join(text.split())  # times of other lengths break lines elsewhere


def svg(screen: str, theme: TerminalTheme) -> str:
    """The picture of a screen below the command that made it."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, legacy_windows=False)
    console.print(Text(f"$ {shlex.join(['consortium-mcp', *CONSULT])}", style="bold"))
    console.print(Text.from_ansi(screen))
    made = console.export_svg(title="", theme=theme, code_format=FORMAT, unique_id="consult")
    framed = made.replace("rgba(255,255,255,0.35)", "rgba(127,127,127,0.5)")  # a frame that white shows too
    return re.sub(r"[ \t]+\n", "\n", framed)


def read_svg(picture: str) -> str:
    """The text that a picture shows, line by line."""
    lines: dict[float, str] = {}
    for x, y, text in re.findall(r'<text [^>]*\bx="([\d.]+)" y="([\d.]+)"[^>]*>([^<]*)</text>', picture):
        column = round(float(x) / CHARACTER)
        lines[float(y)] = lines.get(float(y), "").ljust(column) + html.unescape(text).replace("\xa0", " ").rstrip("\n")
    return "\n".join(line.rstrip() for _, line in sorted(lines.items()))


def write() -> None:
    """Record once, and write the picture in both themes."""
    PICTURES.mkdir(exist_ok=True)
    screen = record()
    for name, theme in THEMES.items():
        (PICTURES / f"consult-{name}.svg").write_text(svg(screen, theme))


if __name__ == "__main__":
    write()
