"""`make mip`: write the top level's package.json, which lists the agent's sources for mip.

`mpremote mip install github:OWNER/REPO` and one from a checkout read it. `fleet mip` builds it
compiled.
"""

import sys
from typing import Any

from tools.paths import ROOT
from twinslot.firmware import agent, extensions, mip

SOURCES = ROOT / mip.NAME
# As sources, its modules beside the others fill the file system of a board with 4 MB.
_LEFT_OUT = "segments"


def listing() -> dict[str, Any]:
    """Return the top level's package.json, as it has to be."""
    chosen = [name for name in extensions.everything() if name != _LEFT_OUT]
    return mip.listing([agent.LINK, *agent.sources(chosen)], "firmware/")


def main() -> int:
    """Write the file; return the exit code."""
    SOURCES.write_text(mip.text(listing()), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
