"""The writing side of the connection to the broker: paho's packets, and whole windows of blocks.

paho makes a lock, a log line and a call of the system of each message. A window of a stream is
eight of them, and goes out here as one piece. Both write to one socket, so each waits until the
other stands between two packets: paho writes only when `write` lets it.
"""

import ssl
from typing import Any

import paho.mqtt.client as mqtt


class Outgoing:
    """The packets that are to be written to the broker."""

    def __init__(self, client: mqtt.Client) -> None:
        """Take over the writing of a client that has no thread of its own."""
        self._client = client
        self._unsent = memoryview(b"")
        self._begun = False  # a part of it is at the broker, so that nothing may come between
        # With this, paho leaves it to its caller to say when packets are written.
        client.on_socket_register_write = lambda *_: None

    @property
    def full(self) -> bool:
        """Say whether the socket has not taken yet all that `put` gave it."""
        return len(self._unsent) > 0

    @property
    def waits(self) -> bool:
        """Say whether there is anything to write."""
        return self.full or self._client.want_write()

    def put(self, packets: bytes) -> None:
        """Write whole packets of QoS 0 as one piece; what the socket does not take now waits.

        Without a connection they are dropped, as this quality of service allows.
        """
        if self._client.is_connected():
            self._unsent = memoryview(bytes(self._unsent) + packets if self.full else packets)
            self.write()

    def write(self) -> None:
        """Write as much as the socket takes."""
        if self._client.want_write() and not self._begun:
            self._client.loop_write()
            if self._client.want_write():
                return  # it may stand within a packet
        link: Any = self._client.socket()
        if link is None or not self.full:
            return
        try:
            self._unsent = self._unsent[link.send(self._unsent) :]
            self._begun = self.full
        except BlockingIOError:
            pass
        except (ssl.SSLWantWriteError, ssl.SSLWantReadError):
            self._begun = True  # OpenSSL has made a record of it, and wants the same bytes again
        except OSError:  # the client finds out when it reads
            self.forget()

    def forget(self) -> None:
        """Drop what a connection that is lost has not taken."""
        self._unsent = memoryview(b"")
        self._begun = False
