"""Puts boot.py and firmware/ into the wheel, as twinslot/firmware/on_board.

They have one place in git, the top level, where MicroPython's tools look for them. An editable
install takes them from there (src/twinslot/firmware/sources.py).
"""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
TARGET = "twinslot/firmware/on_board"


class BuildWithFirmware(build_py):  # type: ignore[misc]
    """Copies what boards run beside the modules."""

    def run(self) -> None:
        """Build the modules, then add the firmware's sources; nothing of an older build stays."""
        if not self.editable_mode:
            shutil.rmtree(self.build_lib, ignore_errors=True)
        super().run()
        if not self.editable_mode:
            for source, target in self._firmware():
                self.mkpath(str(Path(target).parent))
                self.copy_file(str(source), target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        """Return the files that are built."""
        return [*super().get_outputs(include_bytecode), *(to for _, to in self._firmware())]

    def _firmware(self) -> list[tuple[Path, str]]:
        folder = ROOT / "firmware"
        found = {path.relative_to(folder): path for path in sorted(folder.rglob("*.py"))}
        found[Path("boot.py")] = ROOT / "boot.py"
        base = Path(self.build_lib) / TARGET
        return [(path, str(base / name)) for name, path in found.items()]


setup(cmdclass={"build_py": BuildWithFirmware})
