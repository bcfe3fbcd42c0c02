"""DescribeEndpoint: where boards find the broker, and clients the other services."""

from collections.abc import Callable, Mapping
from typing import Any

from twinslot.service.api import Operation, Result
from twinslot.service.names import invalid

DATA, JOBS = ("iot:Data", "iot:Data-ATS"), ("iot:Jobs",)
"""The types that are here: of the broker, of `iot-jobs-data`."""


class EndpointOperations:
    """The endpoints. `broker` and `control` return HOST:PORT, as they are now."""

    def __init__(self, broker: Callable[[], str], control: Callable[[], str]) -> None:
        self._broker = broker
        self._control = control
        self.operations = {"DescribeEndpoint": Operation(self._describe, {"endpointType"})}

    def _describe(self, parameters: Mapping[str, Any]) -> Result:
        kind = parameters.get("endpointType", "iot:Data")
        if kind in DATA:
            return Result({"endpointAddress": self._broker()})
        if kind in JOBS:
            return Result({"endpointAddress": self._control()})
        raise invalid(f"endpointType: {kind} is not here, only {', '.join((*DATA, *JOBS))}")
