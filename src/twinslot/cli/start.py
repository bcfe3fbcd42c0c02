"""The program `fleet`: what ends it from outside, from its first moment to its last.

Loading the commands takes most of a second, in which Ctrl-C must show no traceback either. SIGTERM
and SIGHUP end it as errors do, so that no command leaves half of anything behind.
"""

import os
import signal
import sys

_ENDS = (signal.SIGTERM, signal.SIGHUP)


def run() -> None:
    """Run the command line, and exit."""
    try:
        for number in _ENDS:
            if signal.getsignal(number) == signal.SIG_DFL:  # nohup lets SIGHUP be ignored
                signal.signal(number, _end)
        from twinslot.cli.main import main

        main(prog_name="fleet")
    except KeyboardInterrupt:
        os.write(2, b"fleet: interrupted\n")
        sys.exit(128 + signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends already


def _end(number: int, _frame: object) -> None:
    sys.exit(128 + number)
