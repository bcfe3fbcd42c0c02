"""Starts power_cuts.py: the host's files go below `/host`, as `/` is the simulated board's."""

import sys

import vfs

vfs.umount("/")
vfs.mount(vfs.VfsPosix("/"), "/host")
_root, _sources, _scenario = ["/host" + path for path in sys.argv[1:]]
sys.path[:] = [_root + "/host_tests/on_board", _root + "/sim/chip", _sources + "/firmware"]
import time_2000  # noqa: E402

sys.modules["time"] = time_2000  # ticks begin with the chip's start: a trial's deadline counts them
import power_cuts  # noqa: E402

power_cuts.main(_sources, _scenario)
