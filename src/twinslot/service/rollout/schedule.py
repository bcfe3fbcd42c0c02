"""When a job reaches things: its start, its end, its maintenance windows. Pure.

Source: AWS IoT developer guide ("Job scheduling configuration", "Jobs and job execution states").
Times are Unix seconds.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from twinslot.service.rollout.cron import Cron

STOP_ROLLOUT = "STOP_ROLLOUT"
CANCEL = "CANCEL"
FORCE_CANCEL = "FORCE_CANCEL"

_DAY = 24 * 3600
_HORIZON = 4 * 366  # days in which another window is looked for


class Phase(enum.Enum):
    """SCHEDULED: nothing is sent now; ENDED: nor ever again."""

    SCHEDULED = enum.auto()
    OPEN = enum.auto()
    ENDED = enum.auto()


@dataclass(frozen=True)
class Window:
    """A maintenance window. `minutes`: how long it is open, less than a day."""

    cron: Cron
    minutes: int

    def starts(self, first: date, days: int) -> Iterator[int]:
        """The times at which it opens on so many days."""
        for number in range(days):
            day = first + timedelta(days=number)
            midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
            for minute in self.cron.on(day):
                yield midnight + 60 * minute

    def end(self, now: int) -> int | None:
        """When it closes, where it is open now."""
        begun = [at for at in self.starts(_day(now - _DAY), 2) if at <= now]
        end = begun[-1] + 60 * self.minutes if begun else now
        return end if end > now else None


@dataclass(frozen=True)
class Schedule:
    """behavior: what becomes of executions at `end`. Without windows it is open all the time."""

    start: int | None = None
    end: int | None = None
    behavior: str = STOP_ROLLOUT
    windows: tuple[Window, ...] = ()

    def phase(self, now: int) -> Phase:
        """The phase at this time."""
        if self.end is not None and now >= self.end:
            return Phase.ENDED
        if self.start is not None and now < self.start:
            return Phase.SCHEDULED
        if self.windows and all(window.end(now) is None for window in self.windows):
            return Phase.SCHEDULED
        return Phase.OPEN

    def next_change(self, now: int) -> int | None:
        """The next time at which the phase may be another one, None where it stays for ever."""
        if self.end is not None and now >= self.end:
            return None
        times = [at for at in (self.start, self.end) if at is not None and at > now]
        for window in self.windows:
            closes = window.end(now)
            times += [closes] if closes is not None else self._openings(window, now, 1)
        return min(times, default=None)

    def openings(self, now: int, most: int) -> list[int]:
        """The next times at which a window opens, from `start` on and before `end`."""
        found = {at for window in self.windows for at in self._openings(window, now, most)}
        return sorted(found)[:most]

    def _openings(self, window: Window, now: int, most: int) -> list[int]:
        after = max(now, self.start - 1) if self.start is not None else now
        found: list[int] = []
        for at in window.starts(_day(after), _HORIZON):
            if len(found) == most or (self.end is not None and at >= self.end):
                break
            if at > after:
                found.append(at)
        return found


ALWAYS = Schedule()
"""Open for ever."""


def _day(now: int) -> date:
    return datetime.fromtimestamp(now, UTC).date()
