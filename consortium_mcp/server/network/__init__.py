"""HTTP and SSE for a team: sockets, tokens, admission. It knows no tool."""
