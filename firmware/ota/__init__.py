"""Over-the-air updates for MicroPython on ESP32: the counterpart of the FreeRTOS OTA agent.

    agent = ota.Agent(client, "board-1", settings=ota.load_settings())

`client` is the application's own MQTT client. Feed `agent.on_message` from its callback, call
`agent.start()` after every connect and `agent.step()` in the loop.
"""

from .agent import (
    ACTIVE,
    EVENT_ACTIVATE,
    EVENT_FAIL,
    EVENT_START_TEST,
    NOT_READY,
    READY,
    SHUTTING_DOWN,
    SUSPENDED,
    Agent,
)
from .chip import note
from .errors import OtaError, SettingsError, StateError
from .settings import load_settings

__version__ = "0.1.0"


def status():
    """Print what runs, what is in hand and what happened last, for a person at the REPL."""
    from . import console

    console.show(Agent.current)


def history():
    """Print the last eight results with their causes, newest first."""
    from . import console

    console.history(Agent.current)


def check_for_update():
    """Let the live agent ask the job service for work."""
    _commands().check_for_update(Agent.current)


def accept():
    """Accept the image under test through the live agent."""
    _commands().accept(Agent.current)


def verify():
    """Hash both slots again and print whether they are what their trailers say."""
    _commands().verify()


def rollback(yes=False):
    """Ask, then return to the image in the other slot, which must prove itself like a new one.

    yes (bool): do not ask.
    """
    _commands().rollback(Agent.current, yes)


def _commands():
    from . import commands

    return commands


def crashed(error):
    """Tell that the application died of `error`: an image under test is rolled back at once."""
    from . import chip, journal, slots

    if slots.Slots().pending:
        detail = "%s: %s" % (type(error).__name__, error)
        journal.Journal().save(cause="crash", detail=detail[:200])
        chip.reset()
