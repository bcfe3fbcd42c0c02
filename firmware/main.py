"""The demo application: a link, an agent, and the agent's statistics once a second.

A module `app`, a file or frozen, is started beside it. If it has `join(settings)`, that replaces
Wi-Fi, as Ethernet needs it. A raw image has its version in a frozen module `release`: VERSION.
"""

import gc
import sys
import time

import machine
import network

# Without PSRAM: what stays while modules load lies close together, and buffers find room.
if gc.mem_free() < 512 * 1024:
    gc.threshold(4096)

# The radio takes its 40 KB first: Python's heap gives nothing back that it has grown into, and
# without them there is no Wi-Fi.
network.WLAN(network.STA_IF).active(True)

import ota
from link import make_link
from ota.settings import require

# Settings of this application beside those of docs/settings.md.
OWN_SETTINGS = ()

# A link that worked and then lacks memory so often needs a restart: Python's heap has it.
# A test of this image has a deadline instead.
SHORT = 5
ENOMEM = 12
UNDER_TEST = 1


def set_aside(settings):
    """Keep memory for the link before the heap grows. Returns what gives it back."""
    require(settings, "broker", "host")
    try:
        return ota.set_aside(settings["broker"].get("tls"))
    except OSError as error:
        print("main: there is no memory to keep for the network:", error)
        return lambda: None


def serve(link, agent):
    """Let the agent ride on the link until either ends; print statistics once a second."""
    printed = time.ticks_ms()
    while agent.state != ota.NOT_READY:
        wait = agent.step()
        if time.ticks_diff(time.ticks_ms(), printed) >= 1000:
            printed = time.ticks_ms()
            print("State:", agent.state, agent.stats)
        link.check_msg(min(wait, 200))


def own_version():
    """Return VERSION of the module `release`, frozen into a raw image; None without it."""
    try:
        import release
    except ImportError:
        return None
    return release.VERSION


def start_application():
    """Import the application's own module, if any, and call its start().

    Returns how the network is joined: by the application's join(), or by Wi-Fi.
    """
    try:
        import app
    except ImportError as error:
        if "'app'" in str(error):
            return ota.join_wifi
        raise
    if hasattr(app, "start"):
        app.start()
    return getattr(app, "join", ota.join_wifi)


def main():
    """Run for ever. Raises SettingsError."""
    settings = ota.load_settings()
    give_back = set_aside(settings)
    for doubt in ota.doubts(settings, OWN_SETTINGS):
        print("main:", doubt)
    link = make_link(settings)
    from ota.agent import Agent

    agent = Agent(link, require(settings, "thing"), settings=settings, version=own_version())
    link.set_callback(agent.on_message)
    join = start_application()
    give_back()
    del give_back  # its code goes with it
    print("main: running version %s from %s" % (agent.running[0], agent.slot))
    short = -SHORT
    while True:
        try:
            join(settings)
            if not ota.ask_time(settings.get("ntp")):
                print("main: no time from", settings["ntp"])
            link.connect()
            short = 0
            agent.start()
            serve(link, agent)
        except ota.SettingsError:
            raise
        except (OSError, ota.OtaError) as error:
            print("main: link lost:", error)
            ota.note_link(str(error))
            if short >= 0:
                short = short + 1 if getattr(error, "errno", 0) == ENOMEM else 0
            if short == SHORT and agent.image_state != UNDER_TEST:
                machine.reset()
        time.sleep_ms(link.pause_ms())


try:
    main()
except ota.SettingsError as error:
    print("main:", error)
    ota.crashed(error)
except Exception as error:  # noqa: BLE001  whatever it is, the board must stay within reach
    sys.print_exception(error)
    ota.crashed(error)
    print("main: restarting in 10 s; Ctrl-C leads to the REPL")
    time.sleep(10)
    machine.reset()
