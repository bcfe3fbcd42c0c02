"""Every way an update can fail. What each means, to a service and to people: docs/error-words.md.

A check raises where it fails; nothing passes a boolean up. The exception's text is one sentence for
people. The words that dashboards and the job service get are in `words`, lent when one is asked
for. A class is made when it is first asked for: all of them would take 3 KB of a chip's heap.
"""


class OtaError(Exception):
    """An update, or a call to the agent, that cannot go on.

    job_id: the job to fail with it, None unless a document that cannot be read names one;
    own_cause: a cause that says more than that of the class, or "".
    """

    job_id = None
    own_cause = ""

    @property
    def cause(self):
        """Return one word, stable, for dashboards and alarms."""
        return self.own_cause or _words().cause_of(self)

    def reason(self):
        """Return the `reason` of statusDetails in the form of the 2019 FreeRTOS agent (V1.0.4)."""
        return _words().reason_of(self)


def __getattr__(name):
    """Make the class `name` (PEP 562). `words` has a row for each."""
    if name[-5:] != "Error":
        raise AttributeError(name)
    base = {"FilesystemError": "FlashError", "EmptyFileError": "JobError"}.get(name)
    bases = (globals().get(base) or __getattr__(base),) if base else (OtaError,)
    globals()[name] = made = type(name, bases, {})
    return made


def _words():
    from . import loader  # which imports this module

    return loader.lend("words")
