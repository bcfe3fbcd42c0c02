"""A small double of mqtt_as: its documented names, as far as docs/your-application.md uses them.

On the board it is `mqtt_as`. Messages come in a task of its own, without waiting for anybody, and
every call is a coroutine; underneath is the project's own link.
"""

import asyncio

import network
from link import Link

MSG_BYTES = True
config = {
    "client_id": "",
    "server": None,
    "port": 1883,
    "ssid": None,
    "wifi_pw": None,
    "subs_cb": None,
    "connect_coro": None,
}


class MQTTClient:
    """A client as `config` describes it."""

    def __init__(self, config):
        self._config = config
        self._link = Link(config["client_id"], config["server"], config["port"])
        self._link.set_callback(self._deliver)
        self._connected = False

    def isconnected(self):
        return self._connected

    async def connect(self, *, quick=False):
        wlan = network.WLAN(network.STA_IF)
        wlan.active(True)
        wlan.connect(self._config["ssid"], self._config["wifi_pw"])
        while not wlan.isconnected():
            await asyncio.sleep_ms(20)
        self._open()
        self._task = asyncio.create_task(self._receive())

    async def publish(self, topic, msg, retain=False, qos=0):
        await self._call(self._link.publish, topic, msg, retain, qos)

    async def subscribe(self, topic, qos=0):
        await self._call(self._link.subscribe, topic, qos)

    async def _call(self, function, *arguments):
        """Do it when there is a link, again until it is done."""
        while True:
            while not self._connected:
                await asyncio.sleep_ms(20)
            try:
                return function(*arguments)
            except OSError:
                self._connected = False

    async def _receive(self):
        while True:
            try:
                if not self._connected:
                    self._open()
                self._link.check_msg()
            except OSError:
                self._connected = False
            await asyncio.sleep_ms(5 if self._connected else 500)

    def _open(self):
        self._link.connect()
        self._connected = True
        self._handler = asyncio.create_task(self._config["connect_coro"](self))

    def _deliver(self, topic, msg):
        self._config["subs_cb"](topic, bytes(msg) if MSG_BYTES else msg, False)
