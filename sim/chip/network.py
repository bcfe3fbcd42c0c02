"""The chip's `network` module: a station that joins the one Wi-Fi there is."""

from time import time as _now

import hardware

STA_IF = 0
AP_IF = 1
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202

# Joining takes a moment on the chip too: seconds until the station has an address, or until one of
# its attempts has failed.
_JOIN_S = 0.05


def radio(works):
    """Let the radio fail (False) until the next reset. Only the simulated chip has this."""
    hardware.board.radio = works
    if not works:
        _associate(False)


class WLAN:
    """The station interface. All objects are the one interface of the board."""

    IF_STA = STA_IF
    IF_AP = AP_IF

    def __init__(self, interface=STA_IF):
        if interface != STA_IF:
            raise OSError(-1, "only the station is simulated")
        board = hardware.board
        if board.station is None:
            board.station = _Station(board.wifi_up)
        self._station = board.station

    def active(self, flag=None):
        """Get or set whether the interface is up."""
        if flag is not None:
            self._station.active = bool(flag)
            if not flag:
                self.disconnect()
        return self._station.active

    def connect(self, ssid=None, key=None):
        """Begin to join; `status()` and `isconnected()` tell how it went."""
        if not self._station.active:
            raise OSError(-12290, "Wifi Not Started")
        self.disconnect()
        board, station = hardware.board, self._station
        station.reason = 0
        if not board.radio or ssid != board.ssid:
            station.reason = STAT_NO_AP_FOUND
        elif (key or "") != board.password:
            station.reason = STAT_WRONG_PASSWORD
        station.status = STAT_CONNECTING
        attempts = station.reconnects + 1 if station.reason else 1
        station.joins_at = _now() + _JOIN_S * attempts

    def disconnect(self):
        """Leave the Wi-Fi. What went wrong with it is still known."""
        _associate(False)
        self._station.status = self._station.reason or STAT_IDLE

    def isconnected(self):
        """Say whether the station has an address."""
        return self.status() == STAT_GOT_IP and hardware.board.wifi_up

    def status(self, what=None):
        """Return one of the STAT_ numbers; of "rssi", dBm.

        A station that may try again without end is connecting, whatever went wrong.
        """
        station = self._station
        if what == "rssi":
            if not hardware.board.wifi_up:
                raise OSError(-1, "the station is in no Wi-Fi")
            return -40
        if station.status == STAT_CONNECTING and _now() >= station.joins_at:
            if not station.reason:
                _associate(True)
                station.status = STAT_GOT_IP
            elif station.reconnects >= 0:
                station.status = station.reason
        return station.status

    def ifconfig(self, addresses=None):
        """Get or set (address, netmask, gateway, DNS server)."""
        if addresses is not None:
            if len(addresses) != 4:
                raise ValueError("requested length 4")
            self._station.addresses = tuple(addresses)
            return None
        if self._station.addresses:
            return self._station.addresses
        address = "127.0.0.1" if self.isconnected() else "0.0.0.0"
        return (address, "255.0.0.0", "127.0.0.1", "127.0.0.1")

    def ipconfig(self, name):
        """Return one parameter: "addr4" is (address, netmask)."""
        if name != "addr4":
            raise ValueError("unknown parameter")
        return self.ifconfig()[:2]

    def config(self, name=None, *, reconnects=None):
        """Return one parameter: "mac" is 6 bytes; or set how often it tries again, -1: always."""
        if reconnects is not None:
            self._station.reconnects = reconnects
            return None
        if name != "mac":
            raise ValueError("unknown config param")
        return hardware.MAC


def _associate(up):
    if hardware.board.wifi_up != up:
        hardware.board.wifi_up = up
        hardware.board.keep_wifi(up)


class _Station:
    """What the interface's objects share. up: joined already, before a soft reset."""

    def __init__(self, up):
        self.active = up
        self.status = STAT_GOT_IP if up else STAT_IDLE
        self.reason = self.joins_at = 0
        self.reconnects = -1
        self.addresses = None
