"""Pages of what AWS tells of one board at a time: `fleet status` and `fleet watch` ask for all.

Each page is one query, and begins behind the thing that the page before has ended with.
"""

from collections.abc import Mapping
from typing import Any

from twinslot.formats import aws
from twinslot.service import shadows
from twinslot.service.names import not_found
from twinslot.service.store import Store

PAGE = 500  # things


class Overview:
    """The extensions `executions` and `shadows`, as `Api` calls them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def executions(self, rest: str) -> Mapping[str, Any]:
        """The last executions of a job by thing. rest: the job, a slash, the thing to begin behind.

        Times are Unix seconds. Raises ApiError for an unknown job.
        """
        job_id, _, after = rest.partition("/")
        with self._store.read() as transaction:
            found = transaction.executions_of(
                job_id, newest=True, after=(after, aws.MAX_NUMBER), limit=PAGE
            )
            if not found and transaction.job(job_id) is None:
                raise not_found(f"no job {job_id}")
        listed = [
            {
                "thing": execution.thing,
                "status": execution.status,
                "details": dict(execution.details),
                "queued_at": execution.queued_at,
                "started_at": execution.started_at,
                "updated_at": execution.updated_at,
            }
            for execution in found
        ]
        return {"executions": listed, "more": len(found) == PAGE}

    def shadows(self, after: str) -> Mapping[str, Any]:
        """The shadows `ota` by thing, those behind the thing `after`."""
        with self._store.read() as transaction:
            found = transaction.shadows(after=after, limit=PAGE)
        documents = {thing: shadows.document(shadow) for thing, shadow in found.items()}
        return {"shadows": documents, "more": len(found) == PAGE}
