"""Starts the server, as the bundle's manifest says."""

from consortium_mcp.cli import main

main(["serve", "--transport", "stdio"], prog_name="consortium-mcp")
