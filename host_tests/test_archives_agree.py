"""The board and the host, which know nothing of each other, take and refuse the same archives."""

from __future__ import annotations

import json
import tarfile

import hostile
import pytest

from tools.paths import ROOT
from twinslot.formats import archive

HEADERS = ROOT / "host_tests/vectors/ustar-headers.json"


def test_the_stored_headers_are_those_that_tarfile_writes() -> None:
    for path, size, header in json.loads(HEADERS.read_text())["tests"]:
        info = tarfile.TarInfo(path)
        info.type = tarfile.DIRTYPE if path.endswith("/") else tarfile.REGTYPE
        info.mode, info.size = 0, size
        assert info.tobuf(tarfile.USTAR_FORMAT).hex() == header


@pytest.mark.parametrize("name", hostile.GOOD)
def test_a_good_archive_is_the_one_that_the_host_reads_and_builds(name: str) -> None:
    contents = hostile.GOOD[name]
    files = {path.decode(): data for path, data in contents if not path.endswith(b"/")}
    assert archive.contents(hostile.archive(contents)) == files
    if name != "an empty folder":  # the host makes folders for files only
        assert archive.build(files) == hostile.archive(contents)


@pytest.mark.parametrize("name", hostile.NAMES)
def test_the_host_refuses_each_hostile_archive_too(name: str) -> None:
    with pytest.raises(archive.ArchiveError):
        archive.read(bytes(hostile.make(name).data))
