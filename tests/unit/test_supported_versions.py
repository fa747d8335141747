"""The oldest supported versions: the bounds of pyproject.toml are those that `make test-oldest` installs."""

import tomllib

from packaging.requirements import Requirement
from packaging.version import Version

from tests.paths import ROOT


def test_the_oldest_versions_that_are_tested_are_those_that_are_allowed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    allowed = [Requirement(one) for one in [*project["dependencies"], *project["optional-dependencies"]["local"]]]
    lines = (ROOT / "constraints" / "oldest.txt").read_text().splitlines()
    tested = dict(line.split("==") for line in lines if not line.startswith("#"))

    assert {one.name: Version(tested[one.name]) for one in allowed} == {
        one.name: min(Version(bound.version) for bound in one.specifier if bound.operator == ">=") for one in allowed
    }
