"""AWS IoT's control plane: the operations of all rooms in `operations/`, joined."""

from collections.abc import Callable

from twinslot.service.executions import Executions
from twinslot.service.names import Names
from twinslot.service.operations.executions import ExecutionOperations
from twinslot.service.operations.jobs import JobOperations
from twinslot.service.operations.streams import StreamOperations
from twinslot.service.operations.things import ThingOperations
from twinslot.service.operations.updates import UpdateOperations
from twinslot.service.store import Store


class Control:
    """All operations of the service `iot`, and the extensions that AWS has none for.

    `operations` and `extensions` are as `Api` takes them. `clock` returns Unix seconds.
    """

    def __init__(
        self, store: Store, names: Names, telling: Executions, clock: Callable[[], float]
    ) -> None:
        things = ThingOperations(store, names, clock)
        jobs = JobOperations(store, names, telling, clock)
        self.operations = {
            **things.operations,
            **StreamOperations(store, names, clock).operations,
            **jobs.operations,
            **ExecutionOperations(store, names, telling, clock).operations,
            **UpdateOperations(store, names, jobs, clock).operations,
        }
        self.extensions = {
            "GET served": jobs.served,
            "GET revoked": things.revoked,
            "POST revoke": things.revoke,
            "POST admit": things.admit,
        }
