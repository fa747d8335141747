"""Changes one value in a client's configuration file; every other byte stays."""
