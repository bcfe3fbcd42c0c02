"""A store with things, streams and jobs in it, for the tests of the service's parts."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from twinslot.config import Credentials
from twinslot.service.access import Access
from twinslot.service.executions import Executions
from twinslot.service.jobs import Jobs
from twinslot.service.names import Names
from twinslot.service.objects import ObjectFolder
from twinslot.service.presign import Presigner
from twinslot.service.rollouts import Rollouts
from twinslot.service.rows.jobs import Job
from twinslot.service.rows.objects import Object
from twinslot.service.rows.streams import Stream, StreamFile
from twinslot.service.rows.things import Thing
from twinslot.service.shadows import Shadows
from twinslot.service.store import Store
from twinslot.service.streams import Streams

NOW = 1_700_000_000


@contextlib.contextmanager
def statements() -> Iterator[list[str]]:
    """Every statement that any database is sent meanwhile."""
    sent: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    sa.event.listen(sa.Engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", note)


class World:
    """A service's state in a folder, without its listeners; `now` is its clock.

    database: URL, None for one in the folder.
    """

    def __init__(self, folder: Path, database: str | None = None) -> None:
        self.now = NOW
        self.store = Store(database or f"sqlite:///{folder}/fleet.db")
        self.objects = ObjectFolder(folder / "objects")
        self.heard = 0
        self.access = Access(self.store)
        self.streams = Streams(self.store, self.access, self.objects)
        self.presign("http://boards.test:8080", Credentials("key", "secret"))

    def presign(self, base: str, credentials: Credentials) -> None:
        """Say where boards get objects, and with whose key URLs are signed."""
        self.executions = Executions(Presigner(base, credentials, "local"))
        self.rollouts = Rollouts(self.executions, Names("local", "secret"))

    def ask_jobs(self, topic: str, payload: bytes) -> None:
        """Let the Jobs service answer a request, whose answer then is in the outbox."""
        with self.store.write() as transaction:
            Jobs(self.rollouts, self.clock).answer(transaction, topic, payload)

    def ask_shadows(self, topic: str, payload: bytes) -> None:
        """Let the shadow service answer a request, whose answer then is in the outbox."""
        with self.store.write() as transaction:
            Shadows(self.store, self.clock).answer(transaction, topic, payload)

    def clock(self) -> float:
        return self.now + 0.25

    def things(self, *names: str) -> None:
        with self.store.write() as transaction:
            for name in names:
                transaction.add_thing(Thing(name, {}, self.now))

    def object(self, key: str, data: bytes) -> Object:
        item = Object(
            "packages",
            key,
            self.objects.add(data),
            f"etag-{len(data)}",
            len(data),
            "",
            {},
            self.now,
        )
        with self.store.write() as transaction:
            transaction.put_object(item)
        return item

    def stream(self, stream_id: str, *files: bytes, description: str | None = None) -> None:
        found = []
        for file_id, data in enumerate(files):
            item = self.object(f"{stream_id}-{file_id}", data)
            found.append(StreamFile(file_id, item.bucket, item.key, item.etag, item.size))
        with self.store.write() as transaction:
            transaction.add_stream(Stream(stream_id, description, "role", self.now, tuple(found)))

    def job(
        self, job_id: str, *things: str, stream_id: str | None = None, minutes: int | None = None
    ) -> None:
        """A job on these things, without the notifications that the control API adds."""
        document = json.dumps({"afr_ota": {"streamname": stream_id}})
        job = Job(
            job_id, document, stream_id, things, None, minutes, "IN_PROGRESS", self.now, self.now
        )
        with self.store.write() as transaction:
            transaction.add_job(job)
            for thing in things:
                transaction.add_executions(job_id, [thing], self.now)

    def sent(self) -> list[tuple[str, Any]]:
        """What was put into the outbox since the last call."""
        with self.store.read() as transaction:
            messages = transaction.messages(after=self.heard, limit=1000)
        self.heard = messages[-1].id if messages else self.heard
        return [(message.topic, json.loads(message.payload)) for message in messages]
