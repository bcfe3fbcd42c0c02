"""The MQTT link, by the name under which applications import it."""

from ota.link import Link, MQTTError, make_link  # noqa: F401
