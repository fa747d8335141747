"""Checks the installation and names repairs for problems; it changes nothing, and calls models only with `--live`."""

from consortium_mcp.installation.doctor.check import Check
from consortium_mcp.installation.doctor.examination import examine

__all__ = ["Check", "examine"]
