"""The loader: which modules each phase of an update needs. No other file loads or unloads one.

A module's code lies in the chip's heap while `sys.modules` names it, and most of the agent is of
use for a part of an update only.

Rules
- RESIDENT stays loaded, and WORKING in every phase but "rest".
- Entering a phase loads its row, and unloads every other module but those that the caller adds.
- A row stands in the order of loading: a module imports, at its top, only what stands before it.
- An object keeps the code of its class. Who holds one over a change of phase adds its module.
"""

import sys

from . import errors

RESIDENT = "errors phases compat chip settings inbox agent"
WORKING = "journal slots channel board engine"

# Phase -> its modules, beside RESIDENT and WORKING.
PHASES = {
    "rest": "",
    "start": "window defaults cbor package trust p256 manifest installed recovery start",
    "serve": "jobs hear serve",
    "open": "cbor package trust admission",
    "raw": "cbor package trust manifest x509 raw admission",
    "verify": "admission",
    "admit": "cbor package manifest ustar flat cleanup room admission",
    "prepare": "window ustar flat cleanup directory transfer",
    "transfer": "window transfer",
    "check": "cbor package trust p256 manifest installed ustar directory readback finalize",
    "finish": "ustar directory readback finalize",
    "trial": "trial",
    "tidy": "ustar flat cleanup directory tidy",
}

# Added to any phase while a control message is read.
HEARING = "jobs hear"
# Added while the application asks for something.
CALLING = "calls"

# Name of a data path -> its modules. The last one has `make(engine)`, see `transfer`.
PATHS = {
    "cbor": "cbor stream_cbor mqtt_stream",
    "json": "stream_json mqtt_stream",
    "http": "source http http_job",
    "address": "source http",
    "source": "source",
}

# Scheme of an address -> name of its data path. What has no scheme is a "source".
SCHEMES = {"http": "address", "https": "address"}

# (kind, encoding) of a component -> modules of its writer. The last one has `make(board, component,
# same)`, see `transfer`. Another encoding is refused.
WRITERS = {
    (0, 0): "slot_writer",
    (1, 0): "ustar flat cleanup archive directory_writer",
}

# The same for chips with plenty of memory, tried first.
WIDE_WRITERS = {(0, 0): "slot_writer_64k"}

# What a person at the REPL asks for -> its modules. The last one answers.
QUESTIONS = {
    "status": "journal slots cbor package trust p256 manifest installed frozen_conflicts console "
    "repl_status",
    "command": "journal slots cbor package trust p256 manifest installed ustar directory readback "
    "roll_back console repl_commands",
    "install": "journal slots inbox agent channel source console repl_install",
    "crash": "journal slots channel trial",
    "rollback": "journal slots cbor package trust p256 manifest installed ustar directory readback "
    "roll_back",
}

# Extension -> its modules. What no line names is the core.
EXTENSIONS = {
    "console": "frozen_conflicts console repl_status repl_commands repl_install",
    "http": "http http_job",
    "json": "stream_json",
    "raw": "x509 raw rsa",
    "wide": "slot_writer_64k",
}

# Whether modules are ever unloaded (setting `unload`).
unloads = True

_phase = _also = ""
_wanted: "list[str]" = []
_missing: "list[str]" = []
_guests: "list[str]" = []


def enter(phase, also=""):
    """Load one module that `phase` lacks. Returns whether all of its modules are here.

    also: names of more modules, with blanks between them; they stay for as long as a caller names
    them. The first call for a phase unloads what it does not need. Raises ExtensionError when the
    module belongs to an extension that is not on this board, MemoryError.
    """
    global _phase, _also, _wanted, _missing
    if phase != _phase or also != _also:
        _phase, _also = phase, also
        working = WORKING + " " if phase != "rest" else ""
        _wanted = (working + PHASES[phase] + " " + also).split()
        if unloads:
            stays = RESIDENT.split() + _wanted
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


def enter_now(phase, also=""):
    """Load all modules of `phase` at once, and unload the others. As `enter`."""
    while not enter(phase, also):
        pass
    return True


def ask(question, function, *arguments):
    """Let `function` of the module that answers `question` do so. Returns what it returns.

    The modules of the phase stay; those that only the question needs go afterwards. Raises what
    the function raises, ExtensionError.
    """
    global _guests
    names = QUESTIONS[question].split()
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


def path_of(source):
    """Return the name of the data path from a source: an address, a file's path, or an object."""
    scheme = source.split("://")[0] if isinstance(source, str) and "://" in source else ""
    return SCHEMES.get(scheme, "source")


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
        for extension in EXTENSIONS:
            if name in EXTENSIONS[extension].split() and "'ota.%s'" % name in str(error):
                raise errors.ExtensionError(
                    "this needs the agent's extension %s, which is not on this board; `make deploy "
                    "EXTENSIONS=%s` or `fleet push --extensions %s` installs it"
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
