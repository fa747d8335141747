"""Small tools: lazy imports, threads, the event loop, one SQLite writer; they know nothing of consortiums."""
