"""Work cut into slices: a generator that yields between them and returns its result.

Whoever must not hold the application's loop calls `next` on it once a step.
"""


def finish(work):
    """Run the generator `work` to its end at once; returns what it returns."""
    try:
        while True:
            next(work)
    except StopIteration as end:
        return end.value
