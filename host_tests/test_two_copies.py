"""No moment of a board's life needs more room than two copies of its application."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from agent_bench import IMAGE, Chip, pack, packed

from sim import image
from twinslot.board import files, filesystem
from twinslot.formats.head import read_head
from twinslot.formats.littlefs_blocks import BLOCK, tree_blocks
from twinslot.formats.trailer import write_trailer

# What `unpack` has taken before it gives back as much: a piece of a file, and its place.
AHEAD = 4  # blocks


def application(version: str) -> dict[str, bytes]:
    """An application with an agent of its own: large files and small ones, in folders and not."""
    found = {f"ota/module_{n:02}.mpy": f"{n} of {version} ".encode() * 200 for n in range(20)}
    found |= {f"part_{n}.py": f"# {n} of {version}\n".encode() * 40 for n in range(12)}
    found["main.py"] = f"# main of {version}\n".encode() * 30
    found["ota/bundle.bin"] = bytes(range(256)) * 120
    return found


class Weighed(Chip):
    """A board whose file system is weighed by littlefs after every step. peak: most blocks."""

    def __init__(self, folder: Path, *, directory: str) -> None:
        super().__init__(folder)
        self.peak = 0
        self._weighed: list[tuple[str, int]] = []
        for path in folder.glob("*.py"):
            path.unlink()
        cable = {f"/{path}": data for path, data in application("1.0.0").items()}
        for name, data in files.in_directory(cable, directory).items():
            target = folder / name[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        if directory:
            head = read_head(packed("1.0.0", 1))
            firmware = image.firmware(version="1.0.0", size=IMAGE)
            self.board.flash_slot(0, firmware, write_trailer([head.record], directory))

    def weigh(self) -> int:
        """The blocks that littlefs takes for what lies in the board's folder now."""
        fs = filesystem.mount(bytearray(b"\xff" * BLOCK * 400))
        for path in sorted(self.folder.rglob("*")):
            name = f"/{path.relative_to(self.folder).as_posix()}"
            if path.is_dir():
                fs.makedirs(name, exist_ok=True)
            else:
                filesystem.write(fs, {name: path.read_bytes()})
        return int(fs.used_block_count)

    def step(self, steps: int = 3000) -> Any:
        """As it is, weighing."""
        agent_step = self.agent.step

        def weighed() -> Any:
            wait = agent_step()
            lies = sorted((str(path), path.stat().st_size) for path in self.folder.rglob("*"))
            if lies != self._weighed:
                self._weighed = lies
                self.peak = max(self.peak, self.weigh())
            return wait

        self.agent.step = weighed
        return super().step(steps)


@pytest.mark.parametrize("directory", ["", "app_0"])
def test_three_updates_of_a_flashed_board_never_need_a_third_copy(
    tmp_path: Path, directory: str
) -> None:
    chip = Weighed(tmp_path, directory=directory)
    stays = {
        path.relative_to(tmp_path).as_posix(): path.stat().st_size
        for path in (tmp_path / "etc").iterdir()
    }
    copy = {f"app/{path}": len(data) for path, data in application("1.0.0").items()}
    copy["app/.files"] = 1000
    most = tree_blocks(stays) + 2 * (tree_blocks(copy) - tree_blocks({})) + AHEAD
    order = ["app_1", "app_0", "app_1"] if directory else ["app_0", "app_1", "app_0"]
    for number, entered in enumerate(order, 1):
        version = f"1.{number}.0"
        update = pack(version, 1 + number, application(version))
        assert chip.update(f"job-{number}", update) == "SUCCEEDED"
        assert chip.entered == entered
        assert tree_blocks(copy) < chip.peak <= most
        assert chip.weigh() <= most
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"app_0", "app_1", "etc"}, "nothing is left of the flat copy either"
