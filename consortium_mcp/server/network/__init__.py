"""Serves HTTP and SSE for a team: sockets, tokens, admission; it knows no tool."""
