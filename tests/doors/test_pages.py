"""Pages in a real browser: their content, their requests, and their accessibility."""

from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from consortium_mcp.records import Claim, Trust, Verdict
from consortium_mcp.reports.html import page
from consortium_mcp.text.templates import storable
from tests.scripted import new_run, panel, response
from tests.unit.test_report import FIRST, SHORT_HOSTILE, ended, run_that_says

MARKDOWN = """# Paris

The capital is **Paris**.

| a | b |
|---|---|
| 1 | 2 |

```py
print(1)
```

Confidence: 90%"""

WIDTHS = (400, 1200)


def opened(browser: Browser, path: Path, **context: Any) -> tuple[Page, list[str]]:
    """The page of a file, and the addresses that it asked for since."""
    shown = browser.new_context(**context).new_page()
    fetched: list[str] = []
    shown.on("request", lambda request: fetched.append(request.url))
    shown.goto(path.as_uri())
    return shown, fetched


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    """A page of one run with all that a run can have."""
    second = FIRST.model_copy(
        update={
            "number": 2,
            "responses": (
                response(1, MARKDOWN, thinking="*perhaps*"),
                response(2, None, error="Too many requests."),
                response(3, "It is Lyon. " * 50),
            ),
            "verdict": Verdict(
                synthesis="Paris",
                confidence=0.9,
                analysis="One says **Lyon**.",
                claims=(Claim(claim="It is Paris", supported_by=("model1",), opposed_by=("model3",), quote_for="P"),),
            ),
            "trust": Trust(
                confidence=0.62, stated=0.9, bound="agreement", asked=3, same=1, different=1, missing=("m",)
            ),
        }
    )
    run = ended(
        iterations=[FIRST, second],
        prompt="What is the capital of France?",
        answer="**Paris** it is.",
        confidence=0.62,
        degraded=("model2 gave no response.",),
        dissent="model3 says Lyon.",
        consortium=panel("model1", "model2", "model3"),
    )
    path = tmp_path / "run.html"
    path.write_text(page([run]), encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_page_is_accessible_and_fits_at_each_width(browser: Browser, exported: Path, scheme: str, width: int) -> None:
    shown, _ = opened(
        browser, exported, color_scheme=scheme, viewport={"width": width, "height": 900}, bypass_csp=True
    )  # else the page would not let the check run in it

    assert [found["id"] for found in Axe().run(shown).response["violations"]] == []
    assert shown.evaluate("document.documentElement.scrollWidth") <= width


def test_what_is_missing_comes_first_then_the_answer_then_its_trust(browser: Browser, exported: Path) -> None:
    shown, _ = opened(browser, exported)

    assert shown.locator("h1").inner_text() == "What is the capital of France?"
    assert shown.locator("h2").all_inner_texts()[:5] == ["Incomplete", "Answer", "Trust", "Dissent", "Disputed claims"]
    assert shown.locator(".answer strong").inner_text() == "Paris"
    assert shown.locator(".response").nth(0).locator("td").all_inner_texts() == ["1", "2"]
    assert shown.get_by_role("img", name="confidence 0.62, threshold 0.80").count() == 1
    assert shown.locator(".counts li").all_inner_texts() == [
        "1 gave this answer",
        "1 gave another",
        "1 gave no response",
    ]


def test_thinking_is_folded_on_the_screen_and_stands_on_paper(browser: Browser, exported: Path) -> None:
    shown, _ = opened(browser, exported)
    thought = shown.locator("details .said em").first

    assert not thought.is_visible()
    shown.emulate_media(media="print")
    assert thought.is_visible()


def test_a_hostile_text_fetches_nothing_and_runs_nothing(browser: Browser, tmp_path: Path) -> None:
    path = tmp_path / "hostile.html"
    path.write_text(page([run_that_says(storable(text)) for text in SHORT_HOSTILE] + [new_run()]), encoding="utf-8")

    shown, fetched = opened(browser, path)

    assert fetched == [path.as_uri()]
    assert shown.locator("a, img, script, iframe, form, link, object, embed").count() == 0
    assert shown.evaluate("document.querySelectorAll('article').length") == len(SHORT_HOSTILE) + 1
