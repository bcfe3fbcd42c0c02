"""Over-the-air updates for MicroPython on ESP32: the counterpart of the FreeRTOS OTA agent.

    from ota.agent import Agent

    agent = Agent(client, "board-1", settings=ota.load_settings())

`client` is the application's own MQTT client. Feed `agent.on_message` from its callback, call
`agent.start()` after every connect and `agent.step()` in the loop.

Importing `ota` alone takes little, so that an application may first open what needs memory.
"""

from . import phases
from .chip import note
from .errors import OtaError, SettingsError, StateError
from .settings import load_settings

__version__ = "0.1.0"

# States and events, as they are printed.
NOT_READY = "NotReady"
READY = "Ready"
ACTIVE = "Active"
SHUTTING_DOWN = "ShuttingDown"
SUSPENDED = "Suspended"

EVENT_ACTIVATE = "Activate"
EVENT_FAIL = "Fail"
EVENT_START_TEST = "StartTest"
EVENT_RECEIVED_JOB = "ReceivedJob"
EVENT_PROCESSED = "Processed"
EVENT_UPDATE_COMPLETE = "UpdateComplete"
EVENT_SELF_TEST_FAILED = "SelfTestFailed"
EVENT_PARSE_CUSTOM_JOB = "ParseCustomJob"


def status():
    """Print what runs, what is in hand and what happened last, for a person at the REPL."""
    _answer("status", "show", _live())


def history():
    """Print the last eight results with their causes, newest first."""
    _answer("status", "history", _live())


def check_for_update():
    """Let the live agent ask the job service for work."""
    _answer("command", "check_for_update", _live())


def accept():
    """Accept the image under test through the live agent."""
    _answer("command", "accept", _live())


def verify():
    """Hash both slots again and print whether they are what their trailers say."""
    _answer("command", "verify")


def install(source):
    """Install a package: its path ("/sd/x.ota"), its address, or an object as in `source`."""
    _answer("install", "install", _live(), source)


def receive(size):
    """Install a package of `size` bytes that `fleet send` sends through this console."""
    _answer("install", "receive", _live(), size)


def rollback(yes=False):
    """Ask, then return to the image in the other slot, which must prove itself like a new one.

    yes (bool): do not ask.
    """
    _answer("command", "rollback", _live(), yes)


def crashed(error):
    """Tell that the application died of `error`: an image under test is rolled back at once."""
    phases.ask("crash", "crashed", error)


def _live():
    """Return the agent that runs, or None."""
    return phases.is_loaded("agent") and phases.module("agent").Agent.current or None


def _answer(question, function, *arguments):
    """Let a module answer a person. An agent in another thread stands still."""
    agent = _live()
    if agent:
        agent.lock.acquire(True)
    try:
        phases.ask(question, function, *arguments)
    finally:
        if agent:
            agent.lock.release()
