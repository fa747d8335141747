"""Checks of the installation, each with its remedy; it repairs nothing, and calls a model only with `--live`."""

from consortium_mcp.installation.doctor.check import Check
from consortium_mcp.installation.doctor.examination import examine

__all__ = ["Check", "examine"]
