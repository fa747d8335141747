"""Small parts that know nothing of consortiums: imports on demand, threads, the event loop, one SQLite writer."""
