"""The loader of the agent's modules. No other file loads or unloads one.

A module's code lies in the chip's heap while `sys.modules` names it, and most of the agent is of
use for a part of an update only. Entering a phase loads its row of the table `phases`, and unloads
every other module but those that the caller adds. The table itself is only lent.
"""

import sys

from . import errors

# Whether modules are ever unloaded (setting `unload`).
unloads = True

_phase = _also = _more = ""
_wanted: "list[str]" = []
_missing: "list[str]" = []
_guests: "list[str]" = []


def enter(phase, also="", more=""):
    """Load one module that `phase` lacks. Returns whether all of its modules are here.

    also: names of more modules, with blanks between them; more: a key of `phases.MORE`. Both stay
    for as long as a caller names them. The first call for a phase unloads what it does not need.
    Raises ExtensionError when the module belongs to an extension that is not on this board,
    MemoryError.
    """
    global _phase, _also, _more, _wanted, _missing
    if phase != _phase or also != _also or more != _more:
        _phase, _also, _more = phase, also, more
        phases = table()
        _wanted = phases.names_of(phase, also, more)
        if unloads:
            stays = phases.RESIDENT.split() + phases.OWN.split() + _wanted
            for name in _loaded():
                if name not in stays and name not in _guests:
                    _unload(name)
        _missing = [name for name in _wanted if not is_loaded(name)]
    if _missing:
        try:
            _load(_missing[0])
        except Exception:
            _phase = ""  # the next call looks again
            raise
        _missing.pop(0)
    return not _missing


def enter_now(phase, also="", more=""):
    """Load all modules of `phase` at once, and unload the others. As `enter`."""
    while not enter(phase, also, more):
        pass
    return True


def ask(question, function, *arguments):
    """Let `function` of the module that answers `question` do so. Returns what it returns.

    The modules of the phase stay; those that only the question needs go afterwards. Raises what
    the function raises, ExtensionError.
    """
    global _guests
    names = table().QUESTIONS[question].split()
    brought = [name for name in names if not is_loaded(name)]
    _guests = names
    try:
        for name in brought:
            _load(name)
        return getattr(module(names[-1]), function)(*arguments)
    finally:
        _guests = []
        for name in brought:
            if name not in _wanted:
                _unload(name)


def table():
    """Return the module `phases`, lent."""
    return lend("phases")


def lend(name):
    """Return a module, whether the phase has it or not.

    Where it has not, the memory is free again when the caller lets go of it.
    """
    if is_loaded(name):
        return module(name)
    _load(name)
    lent = module(name)
    _unload(name)
    return lent


def module(name):
    """Return a module that the phase has loaded."""
    return sys.modules["ota." + name]


def is_loaded(name):
    """Say whether a module is loaded."""
    return "ota." + name in sys.modules


def _loaded():
    return [name[4:] for name in sys.modules if name.startswith("ota.")]


def _load(name):
    try:
        __import__("ota." + name)
    except ImportError as error:
        extension = table().extension_of(name)
        if extension and "'ota.%s'" % name in str(error):
            raise errors.ExtensionError(  # as short as the history keeps it, see `outcome`
                "no extension %s: `make deploy EXTENSIONS=+%s` or `fleet push --extensions +%s`"
                % (extension, extension, extension)
            )
        raise
    except MemoryError:
        _unload(name)  # it may be half there
        raise


def _unload(name):
    sys.modules.pop("ota." + name, None)
    if hasattr(sys.modules["ota"], name):
        delattr(sys.modules["ota"], name)
