"""How it comes onto a machine: the entries of MCP clients, and the doctor. It knows no run."""
