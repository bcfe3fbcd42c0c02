"""Boards that play a part in a rollout, over a real broker: they do what they are told at once."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as mqtt
from fleet_service import Broker
from paho.mqtt.enums import CallbackAPIVersion

Answer = Callable[[str, int], str]
"""The status that a board reports, by its name and the number of the execution."""


class Boards:
    """Boards on one connection. As an agent does, each asks again until it is answered.

    told: by board, the executions that it heard of.
    """

    def __init__(self, broker: Broker, things: Sequence[str], answer: Answer) -> None:
        self.told: dict[str, set[tuple[str, int]]] = {thing: set() for thing in things}
        self.accepted: Counter[tuple[str, str, int]] = Counter()
        self._answer = answer
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, "boards", clean_session=False)
        self._client.on_connect = self._connected
        self._client.on_message = self._received
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        self._asking = threading.Thread(target=self._ask, daemon=True)
        self._asking.start()

    def stop(self) -> None:
        self._stopped.set()
        self._asking.join()
        self._client.disconnect()
        self._client.loop_stop()

    def _ask(self) -> None:
        while not self._stopped.wait(0.5):
            for thing in self.told:
                self._client.publish(f"$aws/things/{thing}/jobs/$next/get", b"{}", 1)

    def _connected(self, client: mqtt.Client, *_: Any) -> None:
        ends = ("notify-next", "$next/get/accepted", "+/update/accepted")
        client.subscribe([(f"$aws/things/+/jobs/{end}", 1) for end in ends])

    def _received(self, client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        _, _, thing, _, *_ = message.topic.split("/")
        heard = json.loads(message.payload)
        if message.topic.endswith("/update/accepted"):
            job, number = heard["clientToken"].split(" ")
            self.accepted[thing, job, int(number)] += 1
            return
        execution = heard.get("execution")
        if execution is None or thing not in self.told:
            return
        job, number = execution["jobId"], execution["executionNumber"]
        with self._lock:
            self.told[thing].add((job, number))
        report = {
            "status": self._answer(thing, number),
            "executionNumber": number,
            "clientToken": f"{job} {number}",
        }
        client.publish(f"$aws/things/{thing}/jobs/{job}/update", json.dumps(report), 1)
