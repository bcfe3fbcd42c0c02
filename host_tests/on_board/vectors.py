"""Test vectors, for tests that run on the board's interpreters too."""

import json

FOLDER = __file__[: -len("on_board/vectors.py")] + "vectors/"


def load(name):
    """Return what the JSON file `name` of host_tests/vectors/ holds."""
    with open(FOLDER + name) as file:
        return json.load(file)
