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


def crashed(error):
    """Tell that the application died of `error`: an image under test is rolled back at once."""
    from . import chip, journal, slots

    if slots.Slots().pending:
        detail = "%s: %s" % (type(error).__name__, error)
        journal.Journal().save(cause="crash", detail=detail[:200])
        chip.reset()
