"""`python -m consortium_mcp` is the command `consortium-mcp`."""

from consortium_mcp.cli import main

if __name__ == "__main__":
    main(prog_name="consortium-mcp")
