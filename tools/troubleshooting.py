"""`make troubleshooting`: writes docs/troubleshooting.md from the causes in the code.

Every cause that boot.py or the agent can give has a row, and every row a cause: `page` raises
KeyError for one without, ValueError for the other way round.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tools.paths import ROOT, say

PAGE = ROOT / "docs" / "troubleshooting.md"
_FIRMWARE = ROOT / "firmware" / "ota"

# Cause -> (what happened, what to do). The causes are those of a trial first.
TRIAL = {
    "crash": (
        "An exception left `main.py`, or the chip was reset, or the image never reached boot.py.",
        "Read the exception in `detail`: its last part names file and line. `fleet board logs` "
        "shows the whole traceback while it happens. Without an exception look for "
        "`machine.reset()`, a brown-out, or a panic of the firmware on the console.",
    ),
    "returned": (
        "`main.py` ended without an exception, and nothing made an `Agent` before the deadline.",
        "Let the loop run for ever, or start the thread, timer or asyncio task that has the agent.",
    ),
    "no_agent": (
        "`main.py` ran until the deadline and made no `Agent`.",
        "Make one: docs/your-application.md, section 1. A call before it may block for ever.",
    ),
    "not_stepped": (
        "An `Agent` was made, and its `step()` was never called.",
        "Call `step()` in the loop, also while there is no link; or use `run()` or "
        "`start_thread()`.",
    ),
    "no_wifi": (
        "The application never joined a Wi-Fi. `detail` has what `wlan.status()` said.",
        "Compare name and password in `/etc/settings.json`; look whether the access point is "
        "within reach, on 2.4 GHz, and takes WPA2.",
    ),
    "no_broker": (
        "There was Wi-Fi, but no link to the broker. `detail` has the last fault of the link.",
        "ECONNREFUSED: nobody listens on that port. A name that is not found: DNS. A TLS error: "
        "the CA in `/etc/ca.pem`, the board's clock, or memory. `fleet doctor` tries the same "
        "from this computer.",
    ),
    "no_job": (
        "The broker was reached, but the job service did not name this job again.",
        "See that `fleet serve` runs, that the job was not cancelled, and that `thing` in the "
        "settings is the name in the certificate and in the job.",
    ),
    "no_answer": (
        "Everything was there but the application's yes.",
        "Call `agent.accept()` on `EVENT_START_TEST`, or set a longer `self_test_s`.",
    ),
    "stopped": (
        "A person stopped `main.py` at the REPL, and it did not go on before the deadline.",
        "Push again, and leave the board alone; Ctrl-D starts `main.py` again.",
    ),
    "watchdog": (
        "The interpreter stood still until the chip's watchdog bit: no other code ran.",
        "Look for a call into C that does not come back, or a loop with interrupts disabled.",
    ),
    "self_test": (
        "boot.py's own checks or the application's `selftest.run()` failed.",
        "`detail` has the exception. Less than 16 KB of free heap and a file system that does not "
        "keep bytes fail it, too.",
    ),
    "rejected": (
        "The application refused the image with `agent.reject()`.",
        "`detail` has the reason it gave.",
    ),
    "power": (
        "The power was cut in the trial, twice.",
        "Push again when the supply is steady. A brown-out counts as a cut.",
    ),
    "no_rollback": (
        "The bootloader on this board cannot roll back, so nothing may be tried.",
        "Flash the bootloader of MicroPython 1.21 or later by cable: `fleet flash`.",
    ),
}
UPDATE = {
    "rolled_back": (
        "The new image did not prove itself, and nothing says more.",
        "Look at the causes above: one of them stands in `cause` as a rule.",
    ),
    "bad_job": (
        "The job document cannot be carried out.",
        "Make jobs with `fleet publish` or AWS's create-ota-update; `detail` names the key.",
    ),
    "bad_package": (
        "The head breaks the package format, or a raw image came to a board that takes none.",
        "Make packages with `fleet pack`; for raw images see docs/raw-images.md.",
    ),
    "bad_signature": (
        "The signature does not belong to these bytes and this key.",
        "Pack again. If it stays, the file was changed on its way: compare `fleet inspect`.",
    ),
    "unknown_key": (
        "The package is signed by a key that this board does not trust, or not for this.",
        "`fleet keys list` shows keys and roles; `fleet keys send BOARD` brings missing sets.",
    ),
    "wrong_target": (
        "The package is for another product or chip, or the board cannot take it as it is.",
        "Compare product and chip in `fleet inspect` with the board's settings.",
    ),
    "too_large": (
        "The image does not fit the slot, or the application the file system.",
        "`detail` says how much is needed and free, and names the largest files.",
    ),
    "data_path": (
        "The job offers no way that this board can go.",
        "Publish with a stream (`--protocol mqtt`); https needs memory for a second TLS link.",
    ),
    "expired": (
        "The package's own date has passed.",
        "Pack again. If the date is in the future, the board's clock is wrong.",
    ),
    "old_sequence": (
        "The sequence is below one that this board has accepted.",
        "Pack with a higher `--sequence`; `fleet push` counts up by itself.",
    ),
    "failed_before": (
        "This very package has failed its test on the board twice, by its own fault.",
        "Mend it and publish a new one; by hand, `ota.install()` takes it once more.",
    ),
    "same_sequence": (
        "The sequence is the one that runs.",
        "Nothing, if the version runs; else pack with a higher `--sequence`.",
    ),
    "bad_block": (
        "A block of the stream cannot be read.",
        "Something on the way changes messages. Try `stream_json` 0, and another broker.",
    ),
    "flash": (
        "The flash, or NVS in it, would not read, erase or write.",
        "Once: push again. Again at the same address: the flash chip is worn out.",
    ),
    "filesystem": (
        "The file system would not read, write or remove, or is full.",
        "`ota.status()` shows what is free; remove files of your own from `/`.",
    ),
    "bad_archive": (
        "The application's archive breaks the format, or would reach out of its directory.",
        "Make it with `fleet pack --app`.",
    ),
    "source": (
        "The file, server or cable that a local update came from gave it up.",
        "`detail` names it. Try the address with a browser, or plug the cable in again.",
    ),
    "bad_image": (
        "What was received, or what waited to be started, is not what the manifest promised.",
        "Push again. If it comes again while it waits, something on the board writes there.",
    ),
    "activate": (
        "The chip refused to boot the new slot.",
        "`detail` has ESP-IDF's word. The image may be for another revision of the chip.",
    ),
    "too_slow": (
        "The transfer was slower than the setting `min_rate`, over five minutes.",
        "Look at the network and the server; lower `min_rate` where the link is known to be slow.",
    ),
    "no_data": (
        "The service answers, but no block comes, neither of `block_size` nor of 1024 bytes.",
        "See that `fleet serve` runs with its streams, and that the policy lets the board "
        "subscribe to them.",
    ),
    "user": (
        "The update was given up by `abort()`, or the job was cancelled.",
        "Push again when it is wanted.",
    ),
    "state_mismatch": (
        "The job says that a test runs, the board knows of none: its journal was lost.",
        "Push again.",
    ),
    "extension": (
        "The job needs an extension of the agent that is not on this board.",
        "`detail` has the command that installs it.",
    ),
    "settings": (
        "A setting, or a file in `/etc`, is missing or wrong.",
        "`detail` names it; docs/settings.md has all of them.",
    ),
    "state": (
        "The application made a call that is not legal in the agent's state.",
        "Catch `ota.StateError` where you call the agent; docs/agent.md has the states.",
    ),
    "error": (
        "Something of the agent's own failed.",
        "Tell us, with `ota.status()` and the console.",
    ),
}

_HEAD = """# Troubleshooting

`fleet status`, `ota.history()` at the REPL and the job's `statusDetails` give the cause of an
update that failed, one word, and a `detail`, one sentence. This page says what each word means and
what to do. `make troubleshooting` writes it from the causes in the code.
"""


def causes_of_trials() -> Iterator[str]:
    """Return every cause that boot.py or the agent can find for a rollback."""
    for path in [ROOT / "boot.py", *_FIRMWARE.glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                for keyword in node.keywords:
                    if keyword.arg == "cause" and isinstance(keyword.value, ast.Constant):
                        yield str(keyword.value.value)
                if isinstance(node.func, ast.Name) and node.func.id == "end":
                    cause = node.args[0]
                    if isinstance(cause, ast.Constant) and cause.value != "deadline":
                        yield str(cause.value)
    recovery = (_FIRMWARE / "recovery.py").read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(recovery)):
        if isinstance(node, ast.Tuple) and len(node.elts) == 2:
            cause, sentence = node.elts
            said = isinstance(sentence, ast.Constant) and " " in str(sentence.value)
            if isinstance(cause, ast.Constant) and (said or isinstance(sentence, ast.BinOp)):
                yield str(cause.value)
    yield "rejected"  # the application's reject()


def causes_of_errors() -> Iterator[str]:
    """Return every cause of an error of the agent (firmware/ota/words.py)."""
    source = (_FIRMWARE / "words.py").read_text(encoding="utf-8")
    for row in source.split('ROWS = """\n')[1].split('"""')[0].splitlines():
        yield row.split(" ")[1]


def page() -> str:
    """Return the page. Raises KeyError, ValueError when causes and rows do not agree."""
    trials, errors = set(causes_of_trials()), set(causes_of_errors())
    for cause in trials:
        TRIAL[cause]
    for cause in errors - trials:
        UPDATE[cause]
    stale = (set(TRIAL) - trials) | (set(UPDATE) - errors)
    if stale:
        raise ValueError(f"no code gives the cause {', '.join(sorted(stale))}")
    return "\n".join(
        [
            _HEAD,
            *_section("The new image ran and was rolled back", TRIAL),
            *_section("The update was refused or given up", UPDATE),
        ]
    )


def _section(title: str, causes: dict[str, tuple[str, str]]) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| cause | what happened | what to do |"
    yield "| --- | --- | --- |"
    for cause, (happened, remedy) in causes.items():
        yield f"| `{cause}` | {happened} | {remedy} |"
    yield ""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    say(f"troubleshooting: {PAGE}")


if __name__ == "__main__":
    main()
