"""The table of modules: which ones each phase of an update needs. `loader` reads it. Pure.

Rules
- RESIDENT stays loaded, OWN if an application has it, and WORKING in every phase but ALONE's.
- A row stands in the order of loading: a module imports, at its top, only what stands before it.
- An object keeps the code of its class. Who holds one over a change of phase adds its module.
"""

RESIDENT = "errors loader compat chip settings inbox agent"
# What an application loads for itself, and keeps.
OWN = "wire link"
WORKING = "journal channel board engine"

# Phases without WORKING: nothing is in hand, or not yet.
ALONE = ("rest", "look", "settle")

# Phase -> its modules, beside RESIDENT and WORKING.
PHASES = {
    "rest": "",
    "look": "slots window defaults cbor package trust p256 manifest installed facts",
    "settle": "journal board slots cbor package trust keyset keyring",
    "start": "slots recovery outcome start",
    "serve": "jobs clock hear serve",
    "open": "cbor package trust admission",
    "raw": "slots cbor package trust manifest x509 raw admission",
    "verify": "admission",
    "admit": "slots cbor package manifest admission",
    "measure": "slots ustar flat cleanup room admission",
    "connect": "window transfer prepare",
    "prepare": "slots window transfer prepare",
    "transfer": "window transfer",
    "check": "slots cbor package trust p256 manifest installed ustar rebuild readback finalize",
    "finish": "slots ustar rebuild readback finalize",
    "trial": "slots trial",
    "tidy": "slots ustar flat cleanup tidy",
}

# Added to any phase while a control message is read; while the application asks for something.
MORE = {"": "", "hearing": "jobs clock hear", "calling": "calls"}

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

# First byte of a head that is no package -> the phase that reads it. Its module of that name has
# `manifest_of(job, board)`.
HEADS = {0xE9: "raw"}

# (kind, encoding) of a component -> modules of its writer. The last one has `make(board, component,
# same)`, see `transfer`. Another encoding is refused.
WRITERS = {
    (0, 0): "slots slot_writer",
    (1, 0): "ustar rebuild flat cleanup archive directory_writer",
    (0, 1): "slots slot_writer image_base addresses payload segments notes segments_writer",
    (1, 1): "ustar rebuild flat cleanup archive directory_writer archive_base addresses payload "
    "segments notes segments_writer",
}

# The same for chips with plenty of memory, tried first.
WIDE_WRITERS = {(0, 0): "slots slot_writer_64k"}

# What is asked now and then, mostly by a person at the REPL -> its modules. The last one answers.
# A number asks about the head of a component in that encoding: `checking(component, board)`, a
# generator of slices.
QUESTIONS = {
    "status": "journal slots cbor package trust keyset keyring p256 manifest installed "
    "frozen_conflicts console repl_status",
    "command": "journal slots cbor package trust keyset keyring p256 manifest installed ustar "
    "rebuild readback roll_back console repl_commands",
    "install": "journal slots inbox agent channel window source console repl_install",
    "crash": "journal slots channel trial",
    "report": "journal ustar flat cleanup channel report",
    "rollback": "journal slots cbor package trust keyset keyring p256 manifest installed ustar "
    "rebuild readback roll_back",
    "trust": "journal slots cbor package trust keyset keyring",
    1: "ustar rebuild image_base archive_base payload notes segments_head",
}

# Extension -> its modules. What no line names is the core.
EXTENSIONS = {
    "console": "frozen_conflicts console repl_status repl_commands repl_install",
    "http": "http http_job",
    "json": "stream_json",
    "raw": "x509 raw rsa",
    "report": "report",
    "segments": "segments_head image_base archive_base addresses payload segments notes "
    "segments_writer",
    "wide": "slot_writer_64k",
}


def names_of(phase, also, more):
    """Return the modules of a phase, of `also` and of a key of MORE, as a list of names.

    also: names with blanks between them.
    """
    working = "" if phase in ALONE else WORKING
    return " ".join((working, PHASES[phase], also, MORE[more])).split()


def path_of(source):
    """Return the name of the data path from a source: an address, a file's path, or an object."""
    scheme = source.split("://")[0] if isinstance(source, str) and "://" in source else ""
    return SCHEMES.get(scheme, "source")


def extension_of(name):
    """Return the extension that a module belongs to, "" for the core."""
    for extension in EXTENSIONS:
        if name in EXTENSIONS[extension].split():
            return extension
    return ""
