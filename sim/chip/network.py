"""The chip's `network` module: a station that joins the one Wi-Fi there is."""

import hardware

STA_IF = 0
AP_IF = 1
STAT_IDLE = 1000
STAT_CONNECTING = 1001
STAT_GOT_IP = 1010
STAT_NO_AP_FOUND = 201
STAT_WRONG_PASSWORD = 202


class WLAN:
    """A station interface. Whether it connects is `hardware.board`'s to say."""

    IF_STA = STA_IF
    IF_AP = AP_IF

    def __init__(self, interface=STA_IF):
        if interface != STA_IF:
            raise OSError(-1, "only the station is simulated")
        self._active = hardware.board.wifi_up
        self._status = STAT_GOT_IP if self._active else STAT_IDLE

    def active(self, flag=None):
        if flag is None:
            return self._active
        self._active = bool(flag)
        if not flag:
            hardware.board.wifi_up = False
        return self._active

    def connect(self, ssid=None, key=None):
        if not self._active:
            raise OSError("Wifi Not Started")
        board = hardware.board
        if not board.radio or ssid != board.ssid:
            self._status = STAT_NO_AP_FOUND
        elif (key or "") != board.password:
            self._status = STAT_WRONG_PASSWORD
        else:
            self._status = STAT_GOT_IP
        board.wifi_up = self._status == STAT_GOT_IP

    def disconnect(self):
        hardware.board.wifi_up = False
        self._status = STAT_IDLE

    def isconnected(self):
        return self._active and hardware.board.wifi_up and hardware.board.radio

    def status(self, what=None):
        return -40 if what == "rssi" else self._status

    def ifconfig(self):
        address = "127.0.0.1" if self.isconnected() else "0.0.0.0"
        return (address, "255.0.0.0", "127.0.0.1", "127.0.0.1")

    def config(self, name):
        if name == "mac":
            return b"\x24\x0a\xc4\x00\x00\x01"
        raise ValueError("unknown config param")
