"""The kept inputs of fuzzing raise nothing but what each of the board's parsers says."""

import os
import sys

from expect import raises

_ROOT = __file__[: -len("host_tests/on_board/test_fuzz_corpus.py")]
TARGETS = _ROOT + "fuzz/targets"
CORPUS = _ROOT + "fuzz/corpus/"


# WebAssembly has neither sockets nor a chip's binascii, but micropython-lib's.
_ON_A_CHIP_ALONE = ("board_http", "board_stream")


def _replay(name):
    if sys.platform == "webassembly" and name in _ON_A_CHIP_ALONE:
        return
    if TARGETS not in sys.path:
        sys.path.append(TARGETS)
    target = __import__(name)
    files = sorted(os.listdir(CORPUS + name))
    assert files
    for file in files:
        with open(CORPUS + name + "/" + file, "rb") as opened:
            data = opened.read()
        try:
            target.run(data)
        except target.ALLOWED:
            continue
        except Exception:
            print(name, "leaks at", file)
            raise


def test_archives_in_the_corpus_end_as_their_reader_says():
    _replay("board_archive")


def test_cbor_in_the_corpus_ends_as_its_reader_says():
    _replay("board_cbor")


def test_answers_of_web_servers_in_the_corpus_end_as_their_reader_says():
    _replay("board_http")


def test_jobs_in_the_corpus_end_as_their_reader_says():
    _replay("board_jobs")


def test_sets_of_keys_in_the_corpus_end_as_their_reader_says():
    _replay("board_keys")


def test_packages_in_the_corpus_end_as_their_reader_says():
    _replay("board_package")


def test_components_in_encoding_1_in_the_corpus_end_as_the_decoder_says():
    _replay("board_segments")


def test_settings_in_the_corpus_end_as_their_reader_says():
    _replay("board_settings")


def test_stream_messages_in_the_corpus_end_as_their_reader_says():
    _replay("board_stream")


def test_certificates_in_the_corpus_end_as_their_reader_says():
    _replay("board_x509")


def test_a_header_line_of_more_than_16_kb_ends_the_request():
    """It is longer than any kept input."""
    if sys.platform == "webassembly":
        return
    if TARGETS not in sys.path:
        sys.path.append(TARGETS)
    line = b"HTTP/1.1 200 OK\r\na: " + b"b" * 17000
    assert "a line without end" in str(raises(OSError, __import__("board_http").run, line))
