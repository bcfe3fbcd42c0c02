"""AWS IoT's control plane: the operations of all rooms in `operations/`, joined."""

from collections.abc import Callable
from typing import Any

from twinslot.service.admission import Admission
from twinslot.service.names import Names
from twinslot.service.operations.certificates import CertificateOperations
from twinslot.service.operations.executions import ExecutionOperations
from twinslot.service.operations.groups import GroupOperations
from twinslot.service.operations.jobs import JobOperations
from twinslot.service.operations.policies import PolicyOperations
from twinslot.service.operations.streams import StreamOperations
from twinslot.service.operations.tags import TagOperations
from twinslot.service.operations.things import ThingOperations
from twinslot.service.operations.updates import UpdateOperations
from twinslot.service.rollouts import Rollouts
from twinslot.service.store import Store


class Control:
    """All operations of the service `iot`, and the extensions that AWS has none for.

    `operations` and `extensions` are as `Api` takes them. `clock` returns Unix seconds.
    """

    def __init__(
        self,
        store: Store,
        names: Names,
        rollouts: Rollouts,
        admission: Admission,
        clock: Callable[[], float],
    ) -> None:
        self._things = ThingOperations(store, names, rollouts, clock)
        self._certificates = CertificateOperations(store, names, admission, clock)
        jobs = JobOperations(store, names, rollouts, clock)
        self.operations = {
            **self._things.operations,
            **GroupOperations(store, names, rollouts, clock).operations,
            **TagOperations(store, names).operations,
            **self._certificates.operations,
            **PolicyOperations(store, names, clock).operations,
            **StreamOperations(store, names, clock).operations,
            **jobs.operations,
            **ExecutionOperations(store, names, rollouts, clock).operations,
            **UpdateOperations(store, names, jobs, clock).operations,
        }
        self.extensions = {
            "GET served": jobs.served,
            "GET revoked": self._things.revoked,
            "POST revoke": self._revoke,
            "POST admit": self._things.admit,
        }

    def _revoke(self, thing: str) -> dict[str, Any]:
        """Answer a thing no more, and let no certificate that speaks for it in."""
        found = self._things.revoke(thing)
        self._certificates.revoke(thing)
        return found
