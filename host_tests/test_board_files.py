"""What goes into a board's file system, and what must not."""

import ast
import json
from pathlib import Path

import pytest

from tools.paths import ROOT
from twinslot.board import files, filesystem
from twinslot.firmware import extensions
from twinslot.formats import bundle
from twinslot.trust import certificates, keys

KEY = keys.generate()
PEM = certificates.pem(certificates.authority(KEY, "ca"))

SIZE = 0x40000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A settings folder without TLS."""
    found = tmp_path / "settings"
    found.mkdir()
    (found / "settings.json").write_text('{"thing": "board-1", "product": "demo-board"}')
    (found / "trusted_keys.pem").write_bytes(keys.public_pem(keys.generate().public_key()))
    return found


def test_the_application_is_boot_and_main_as_source_and_the_rest_compiled():
    found = files.application()
    assert len(found["/boot.py"]) < (ROOT / "boot.py").stat().st_size * 2 / 3
    assert found["/main.py"] == (ROOT / "firmware/main.py").read_bytes()
    modules = set(found) - {"/boot.py", "/main.py", "/ota/bundle.mpy"}
    assert modules == {"/link.mpy", "/ota/__init__.mpy"}
    assert all(found[path][:2] == b"M\x06" for path in modules)  # .mpy, version 6: since 1.19
    held = bundle.read(found["/ota/bundle.mpy"])
    sources = {path.stem for path in (ROOT / "firmware/ota").glob("*.py")}
    assert set(held.modules) == sources - {"__init__"}
    assert held.extensions == extensions.everything()


def test_boot_py_travels_as_the_same_program() -> None:
    def program(text: bytes) -> str:
        tree = ast.parse(text)
        for node in ast.walk(tree):
            match node:
                case ast.Module() | ast.ClassDef() | ast.FunctionDef():
                    if ast.get_docstring(node) is not None:
                        node.body = node.body[1:]
        return ast.dump(tree)

    sent, source = files.application()["/boot.py"], (ROOT / "boot.py").read_bytes()
    assert program(sent) == program(source)
    assert sent.count(b"\n# == ") == source.count(b"\n# == ") == 1, "the end of a trial's part"
    assert b'"""' not in sent


def test_the_same_files_can_be_had_as_source():
    found = files.application(compiled=False)
    assert found["/ota/agent.py"] == (ROOT / "firmware/ota/agent.py").read_bytes()
    assert not any(path.endswith(".mpy") for path in found)


def test_a_module_that_does_not_compile_is_named(tmp_path):
    source = tmp_path / "broken.py"
    source.write_text("def f(:\n")
    with pytest.raises(files.FilesError, match=r"(?s)broken\.py.*SyntaxError"):
        files.compile_module(source)


def test_a_settings_folder_becomes_etc(folder):
    (folder / "more").mkdir()
    (folder / "more/data.txt").write_text("mine")
    assert sorted(files.settings(folder)) == [
        "/etc/more/data.txt",
        "/etc/settings.json",
        "/etc/trusted_keys.pem",
    ]


def test_hidden_files_and_what_editors_keep_of_older_ones_stay_at_home(folder):
    (folder / ".git").mkdir()
    for name in (".settings.json.swp", ".DS_Store", ".git/config", "settings.json~"):
        (folder / name).write_text("an old password")
    assert sorted(files.settings(folder)) == ["/etc/settings.json", "/etc/trusted_keys.pem"]


@pytest.mark.parametrize("name", ["settings.json", "trusted_keys.pem"])
def test_a_folder_that_lacks_a_file_is_refused(folder, name):
    (folder / name).unlink()
    with pytest.raises(files.FilesError, match=f"{name} is missing"):
        files.settings(folder)


@pytest.mark.parametrize("name", ["ca.pem", "client.pem", "client.key"])
def test_with_tls_its_files_are_needed(folder, name):
    (folder / "settings.json").write_text(json.dumps({"broker": {"tls": True}}))
    for other in {"ca.pem", "client.pem", "client.key"} - {name}:
        (folder / other).write_bytes(PEM)
    with pytest.raises(files.FilesError, match=f"{name} is missing"):
        files.settings(folder)
    (folder / name).write_bytes(PEM)
    assert len(files.settings(folder)) == 5


def test_a_folder_whose_key_was_made_on_the_board_is_for_a_running_board_alone(folder):
    (folder / "settings.json").write_text(json.dumps({"broker": {"tls": True}}))
    (folder / "ca.pem").write_bytes(PEM)
    with pytest.raises(files.FilesError, match=r"client\.pem is missing"):
        files.settings(folder, running=True)
    (folder / "client.pem").write_bytes(PEM)
    assert "/etc/client.key" not in files.settings(folder, running=True)
    sentence = r"client\.key is missing\. If the board made its key itself.*flashing would erase it"
    with pytest.raises(files.FilesError, match=sentence):
        files.settings(folder)


@pytest.mark.parametrize(("text", "words"), [("{", "no JSON:"), ("[]", "no JSON object")])
def test_settings_that_are_no_object_are_refused(folder, text, words):
    (folder / "settings.json").write_text(text)
    with pytest.raises(files.FilesError, match=words):
        files.settings(folder)


def test_no_private_key_but_the_boards_own_travels(folder):
    pem = keys.private_pem(keys.generate())
    (folder / "client.key").write_bytes(pem)
    assert files.settings(folder)["/etc/client.key"] == pem
    (folder / "signing.pem").write_bytes(pem)
    with pytest.raises(files.FilesError, match=r"signing\.pem holds a private key"):
        files.settings(folder)


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(files.FilesError, match="no such folder"):
        files.settings(tmp_path / "none")


def test_a_file_system_reads_back_and_is_littlefs_2_1():
    wanted = {"/a/b/c.txt": b"x" * 10_000, "/short": b"y" * 200, "/empty": b""}
    data = filesystem.build(wanted, SIZE)
    assert len(data) == SIZE
    assert data[8:16] == b"littlefs"
    fs = filesystem.mount(bytearray(data))
    for path, content in wanted.items():
        with fs.open(path, "rb") as file:
            assert file.read() == content
    assert fs.fs_stat().disk_version == 0x00020001


def test_no_file_lies_inline_that_micropythons_cache_cannot_hold():
    """lfs2 reads an inline file into its cache, which MicroPython gives 128 bytes."""
    text = bytes(range(1, 130))
    data = filesystem.build({"/inline": text[:128], "/outside": text}, SIZE)
    blocks = [data[at : at + 4096] for at in range(0, SIZE, 4096)]
    assert sum(block.startswith(text) for block in blocks) == 1


def test_the_same_files_make_the_same_bytes():
    wanted = {f"/ota/{n}.mpy": bytes([n]) * 3000 for n in range(20)}
    assert filesystem.build(wanted, SIZE) == filesystem.build(wanted, SIZE)


def test_files_that_do_not_fit_are_refused_with_the_numbers():
    with pytest.raises(filesystem.FilesystemError, match=r"/big \(300000 bytes\).* 262144 bytes"):
        filesystem.build({"/big": bytes(300_000)}, SIZE)


def test_bytes_that_are_no_littlefs_are_refused():
    with pytest.raises(filesystem.FilesystemError, match="no littlefs"):
        filesystem.mount(bytearray(b"\x5a" * SIZE))
