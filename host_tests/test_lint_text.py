"""`make lint` refuses what would tie the project to one registry or one machine."""

import pytest

from tools.lint import REFUSED_TEXT

# In halves, so that this file may be tracked itself.
REFUSED = [
    "https://" + "pypi" + ".org/simple",
    "resolved: https://registry." + "npmjs" + ".org/x",
    "URIs: http://" + "deb." + "debian.org/debian",
    "cd " + "/wo" + "rk/main",
    "'" + "/ho" + "me/someone/project'",
    "open('" + "/ro" + "ot/x')",
]
ACCEPTED = [
    "https://example.com/work/x",
    "./work/x",
    "PyPI",
    "Debian",
    "/usr/share/keyrings",
    "~/work/x",
]


def complaints(line):
    return [why for pattern, why in REFUSED_TEXT if pattern.search(line)]


@pytest.mark.parametrize("line", REFUSED)
def test_hosts_of_registries_and_paths_of_a_machine_are_refused(line):
    assert complaints(line)


@pytest.mark.parametrize("line", ACCEPTED)
def test_names_and_relative_paths_are_accepted(line):
    assert complaints(line) == []
