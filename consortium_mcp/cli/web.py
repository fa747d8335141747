"""`web`: the history, live runs and statistics in a browser."""

import webbrowser

import click

import consortium_mcp.server as server
from consortium_mcp.cli.screen import say
from consortium_mcp.settings import load_settings, using


@click.command()
@click.option("--port", type=click.IntRange(0, 65_535), default=8765, help="The port; 0 takes a free one. [8765]")
@click.option("--open", "opens", is_flag=True, help="Open the browser.")
def web(port: int, opens: bool) -> None:
    """Show runs, questions and statistics in a browser on this machine, until Ctrl-C.

    The printed URL has the token of this session. Only this machine can reach it.
    """
    settings = load_settings(None, host="127.0.0.1", port=str(port), transport="http")

    def tell(url: str) -> None:
        say(f"Open {url}")
        if opens:
            webbrowser.open(url)

    with using(settings):
        server.serve_pages(settings, tell)
