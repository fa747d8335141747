"""Installs and checks the package on a machine: entries in clients' configurations, and the doctor; it knows no run."""
