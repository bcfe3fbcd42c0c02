"""A job is watched until its last board has ended, also one that begins later, or in stages."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest
from fleet_service import until
from fleet_site import Site
from test_fleet_job_api import HOUR, at, create, look, report

from twinslot.client import watch
from twinslot.errors import FleetError


class View(watch.View):
    """Keeps what was shown."""

    def __init__(self) -> None:
        self.shown: list[list[str]] = []

    def __enter__(self) -> object:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def tell(self, text: str) -> None:
        pass

    def show(self, boards: Sequence[watch.Board]) -> None:
        self.shown.append([f"{one.progress.thing} {one.progress.status}" for one in boards])


class Watcher(threading.Thread):
    """Watches a job beside the test."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.view = View()
        self.good: bool | None = None
        self._site = site
        self.start()

    def run(self) -> None:
        self.good = watch.watch(self._site.config, "job-1", 60, self.view)

    def until_shown(self, boards: list[str]) -> None:
        """Wait until a look that begins from now on shows this."""
        before = len(self.view.shown)
        until(lambda: boards in self.view.shown[before + 1 :], f"{boards} in a look")
        assert self.is_alive(), "the job is not over"


def test_a_job_in_stages_is_watched_until_its_last_stage(site: Site, iot: Any) -> None:
    create(iot, things=2, jobExecutionsRolloutConfig={"maximumPerMinute": 1})
    watcher = Watcher(site)
    report(site, "board-1", "SUCCEEDED")
    watcher.until_shown(["board-1 SUCCEEDED"])
    look(site, 60)
    watcher.until_shown(["board-1 SUCCEEDED", "board-2 QUEUED"])
    report(site, "board-2", "SUCCEEDED")
    watcher.join(60)
    assert watcher.good is True
    assert watcher.view.shown[-1] == ["board-1 SUCCEEDED", "board-2 SUCCEEDED"]


def test_a_job_whose_time_has_not_come_is_waited_for(site: Site, iot: Any) -> None:
    create(iot, things=1, schedulingConfig={"startTime": at(site, 2 * HOUR)})
    watcher = Watcher(site)
    watcher.until_shown([])
    look(site, 2 * HOUR + 60)
    watcher.until_shown(["board-1 QUEUED"])
    report(site, "board-1", "FAILED")
    watcher.join(60)
    assert watcher.good is False


@pytest.mark.parametrize("things", [1, 2])
def test_a_job_that_nobody_is_left_of_is_over(site: Site, iot: Any, things: int) -> None:
    create(iot, things=things)
    for number in range(1, things + 1):
        iot.cancel_job_execution(jobId="job-1", thingName=f"board-{number}")
        iot.delete_job_execution(jobId="job-1", thingName=f"board-{number}", executionNumber=1)
    with pytest.raises(FleetError, match="no board's"):
        watch.watch(site.config, "job-1", 60, View())
