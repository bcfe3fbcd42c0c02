"""Joins a Wi-Fi of the settings. Lent for that time.

The setting `wifi` is a network, {"ssid", "password", "ifconfig"}, or a list of them, of which the
first one that lets the board in is joined. MicroPython repeats an attempt without end, and calls
itself connecting meanwhile. Here the attempts are counted, since `status()` has the reason only
when they are over (MicroPython, network_wlan.c).
"""

import time

import network

from . import errors
from .compat import const
from .settings import require

_CONNECTING = const(1001)
# After the first attempt. One with a wrong password takes some 3 s.
_MORE_ATTEMPTS = const(2)
_LOOK_S = 0.1
_LOOKS = const(300)

# What `wlan.status()` returns (ESP-IDF's wifi_err_reason_t, MicroPython's STAT_).
_REASONS = {
    15: "the password is wrong",
    200: "the access point was lost",
    201: "no access point has this name",
    202: "the password is wrong",
    203: "the access point refuses the board",
    204: "the password is wrong, or the access point does not answer",
    210: "the access point wants another kind of security",
    211: "the access point wants another kind of security",
    212: "the signal is too weak",
    1000: "the application never joined one, or left it",
    1001: "it was still connecting",
}


def reason(status):
    """Say what a number of `wlan.status()` means."""
    return _REASONS.get(status) or "reason %d" % status


def join(settings):
    """Join the first network of the settings that lets the board in, unless it is in one.

    Each has 30 s. Raises OSError with the reason of each, SettingsError.
    """
    wlan = network.WLAN(network.STA_IF)
    wlan.active(True)
    if wlan.isconnected():
        return
    networks = settings.get("wifi")
    faults = []
    for one in networks if isinstance(networks, list) else [networks]:
        fault = _attempt(wlan, {"wifi": one})
        if not fault:
            return
        faults.append(fault)
    raise OSError("no Wi-Fi %s" % "; ".join(faults))


def _attempt(wlan, settings):
    """Join one network. Returns "", or what went wrong."""
    ssid = require(settings, "wifi", "ssid")
    password = None
    if settings["wifi"].get("password"):
        password = require(settings, "wifi", "password")
    address = settings["wifi"].get("ifconfig")
    try:
        if address:
            wlan.ifconfig(address)
        wlan.config(reconnects=_MORE_ATTEMPTS)
        wlan.connect(ssid, password)
    except (TypeError, ValueError):
        raise errors.SettingsError(
            "setting wifi.ifconfig must be [address, netmask, gateway, DNS server]"
        )
    for _ in range(_LOOKS):
        status = wlan.status()
        if status != _CONNECTING:
            break
        time.sleep(_LOOK_S)
    if wlan.isconnected():
        wlan.config(reconnects=-1)
        return ""
    why = reason(status)
    if status == _CONNECTING and _is_associated(wlan):
        why = "it gives no address: DHCP does not answer"
    wlan.disconnect()
    return "%s: %s" % (ssid, why)


def _is_associated(wlan):
    try:
        return bool(wlan.status("rssi"))
    except OSError:
        return False
