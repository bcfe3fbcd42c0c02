"""When something is due again: a fixed time from now, or ever later."""

from .compat import ticks_add, ticks_diff, ticks_ms


class Timer:
    """Due at once when made. first_ms, longest_ms: shortest and longest pause of `later`."""

    def __init__(self, first_ms, longest_ms):
        self._first = first_ms
        self._longest = longest_ms
        self.now()

    @property
    def left(self):
        """Milliseconds until it is due, 0 when it is."""
        return max(0, ticks_diff(self._due, ticks_ms()))

    def now(self):
        """Be due at once; the next `later` is a short one again."""
        self._pause = 0
        self._due = ticks_ms()

    def after(self, milliseconds):
        """Be due so much later."""
        self._due = ticks_add(ticks_ms(), milliseconds)

    def later(self):
        """Be due after a pause twice as long as the last one."""
        self._pause = min(max(2 * self._pause, self._first), self._longest)
        self.after(self._pause)
