"""A client's configuration file as text: one value in it is changed, and every other byte stays."""
