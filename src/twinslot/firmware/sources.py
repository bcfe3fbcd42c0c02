"""Where the sources lie that run on boards.

An installed package has them in `on_board/` beside this module, put there when the wheel is built
(setup.py). In a checkout, and in an editable install of one, they are the top level's `boot.py` and
`firmware/`.
"""

from pathlib import Path

_INSTALLED = Path(__file__).parent / "on_board"
_CHECKOUT = Path(__file__).parents[3]

FIRMWARE = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT / "firmware"
"""The folder of main.py, link.py, reserve.py and ota/."""
BOOT = FIRMWARE / "boot.py" if _INSTALLED.is_dir() else _CHECKOUT / "boot.py"
"""The file boot.py."""
