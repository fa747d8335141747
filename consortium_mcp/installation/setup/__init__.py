"""The steps to a first consortium: what is there, whose plugin is missing, which models answer; it asks no person."""
