"""What the tests of the link share: interpreters, links that end, a broker that misbehaves."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fake_broker import FakeBroker
from remote_link import RemoteLink

from tools.natives import NativeMissing, command

MakeLink = Callable[..., RemoteLink]

# The deadline of a call that is to miss it; all others have the usual ten seconds.
TIMEOUT_MS = 300
PATIENT_MS = 10_000
# How much longer a call may take on a busy machine before its deadline counts as missed.
SLACK_MS = 2500


def need(program: str) -> None:
    """Skip the test where a program cannot be had; in CI that is a failure."""
    try:
        command(program)
    except NativeMissing as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@pytest.fixture(params=["micropython", "cpython"])
def interpreter(request: pytest.FixtureRequest) -> str:
    name = str(request.param)
    if name == "micropython":
        need(name)
    return name


@pytest.fixture
def broker() -> Iterator[FakeBroker]:
    with FakeBroker() as found:
        yield found


@pytest.fixture
def make_link(interpreter: str) -> Iterator[MakeLink]:
    """Make links that end with the test; arguments are RemoteLink's but for the interpreter."""
    made: list[RemoteLink] = []

    def make(port: int, **arguments: Any) -> RemoteLink:
        made.append(RemoteLink(interpreter, port, **arguments))
        return made[-1]

    yield make
    for link in made:
        link.close()


@pytest.fixture
def link(make_link: MakeLink, broker: FakeBroker) -> RemoteLink:
    """A link connected to the misbehaving broker, patient as long as nothing else is said."""
    made = make_link(broker.port, max_payload=1000)
    made.connect()
    return made
