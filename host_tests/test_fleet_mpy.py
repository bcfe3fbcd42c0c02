"""Compiled modules: in the form that the firmware's interpreter loads, or refused before it could
not.
"""

from pathlib import Path

import pytest

from twinslot.firmware import compiler
from twinslot.formats import mpy
from twinslot.formats.chips import CHIPS

NATIVE = "import micropython\n\n@micropython.native\ndef f(a):\n    return a + 1\n"
XTENSA, RISC_V = ("esp32", "esp32s2", "esp32s3"), ("esp32c3", "esp32c6", "esp32p4")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "pump.py"
    path.write_text("def f(a):\n    return a + 1\n")
    return path


def refused(data: bytes, target: mpy.Target, *words: str) -> None:
    with pytest.raises(mpy.MpyError) as caught:
        mpy.check("pump.mpy", data, target)
    for word in ("pump.mpy", *words):
        assert word in str(caught.value)


@pytest.mark.parametrize("chip", CHIPS)
def test_bytecode_is_the_same_for_every_chip_and_version(source: Path, chip: str) -> None:
    made = compiler.compile_module(source)
    for version in (None, (1, 22), (1, 26), (1, 29)):
        target = mpy.Target(chip, version)
        assert compiler.compile_module(source, target=target) == made
        mpy.check("pump.mpy", made, target)


@pytest.mark.parametrize(
    ("chip", "version", "header"),
    [
        ("esp32", (1, 22), b"M\6\x2a\x1f"),
        ("esp32s3", (1, 23), b"M\6\x2b\x1f"),
        ("esp32c3", (1, 24), b"M\6\x2f\x1f"),
        ("esp32c6", (1, 29), b"M\6\x2f\x1f"),
    ],
)
def test_native_code_has_architecture_and_form_of_the_firmware(
    source: Path, chip: str, version: tuple[int, int], header: bytes
) -> None:
    source.write_text(NATIVE)
    target = mpy.Target(chip, version)
    made = compiler.compile_module(source, target=target)
    assert made[:4] == header
    mpy.check("pump.mpy", made, target)


def test_native_code_that_would_not_be_loaded_is_refused(source: Path) -> None:
    source.write_text(NATIVE)
    made = compiler.compile_module(source, target=mpy.Target("esp32", (1, 26)))
    refused(made, mpy.Target("esp32c3", (1, 26)), "not rv32imc")
    refused(made, mpy.Target("esp32", (1, 22)), "6.3", "1.22 loads 6.2")
    refused(made, mpy.Target("esp32"), "give the firmware")
    made = compiler.compile_module(source, target=mpy.Target("esp32c3", (1, 26)))
    refused(made, mpy.Target("esp32c3", (1, 23)), "does not load on esp32c3")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no .mpy"),
        (b"M\6\0", "no .mpy"),
        (b"def f(a):", "no .mpy"),
        (b"M\5\0\x1f", "version 5"),
        (b"M\7\0\x1f", "version 7"),
        (b"M\6\0\x3f", "63 bits"),
    ],
)
def test_what_is_no_mpy_of_this_version_is_refused(data: bytes, words: str) -> None:
    refused(data, mpy.Target("esp32"), words)


def test_the_version_of_a_firmware_is_what_its_image_says() -> None:
    assert mpy.target("esp32", "v1.26.1").micropython == (1, 26)
    assert mpy.target("esp32", "v1.27.0-preview.12.gabc").micropython == (1, 27)
    with pytest.raises(mpy.MpyError, match=r"needs 1\.22 or newer"):
        mpy.target("esp32", "v1.19.1")
    with pytest.raises(mpy.MpyError, match="names no version"):
        mpy.target("esp32", None)


def test_a_complaint_of_the_compiler_names_the_file(source: Path) -> None:
    source.write_text("def f(:\n")
    with pytest.raises(mpy.MpyError, match=r"(?s)pump\.py.*SyntaxError"):
        compiler.compile_module(source)


def test_the_oldest_release_and_small_integers_of_31_bits_are_the_limits(source: Path) -> None:
    assert mpy.target("esp32", "v1.22.0") == mpy.Target("esp32", (1, 22))
    with pytest.raises(mpy.MpyError, match=r"v1\.21\.9; the agent needs 1\.22 or newer"):
        mpy.target("esp32", "v1.21.9")
    made, loads = bytearray(compiler.compile_module(source)), mpy.Target("esp32", (1, 26))
    made[3] = 31
    mpy.check("pump.mpy", bytes(made), loads)
    made[3] = 32
    refused(bytes(made), loads, "small integers of 32 bits", "31 at most")
