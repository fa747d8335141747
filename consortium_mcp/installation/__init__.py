"""The package on a machine: the entries in clients' configurations, and the doctor; it knows no run."""
