"""The console: MicroPython's friendly and raw REPL, as far as people and mpremote use them.

Friendly: a statement at a time, Ctrl-E pastes, Ctrl-D soft reset, Ctrl-A raw. Raw: code up to
Ctrl-D, answered by `OK`, output, \\x04, traceback, \\x04, `>`; an empty Ctrl-D is a soft reset that
stays raw; Ctrl-B friendly. Raw-paste mode, asked for by Ctrl-E A Ctrl-A: code up to Ctrl-D in
windows of 128 bytes, two at first, then one for each \\x01; answered as in raw mode, without `OK`.
"""

import sys

_BANNER = (
    '\nMicroPython on a simulated ESP32 with 4 MiB flash\nType "help()" for more information.\n'
)
_WINDOW = 128  # bytes: half of the chip's input buffer (shared/runtime/pyexec.c)
_BLOCKS = ("if ", "while ", "for ", "try:", "with ", "def ", "class ", "async ", "@")


class Repl:
    """names: the namespace of __main__; raw: begin in raw mode; read: gives one byte of input;
    show: prints an exception; wire: told when Ctrl-C was heard.
    """

    def __init__(self, names, raw, read, show, wire):
        self._names = names
        self._raw = raw
        self._read_byte = read
        self._show = show
        self._wire = wire
        self._greeted = False

    def run(self):
        """Serve the console until a soft reset. Returns whether it was in raw mode."""
        if not self._greeted:
            self._greeted = True
            self._greet()
        while True:
            try:
                if (self._raw_command if self._raw else self._friendly_command)():
                    return self._raw
            except KeyboardInterrupt:
                self._wire.tell("interrupted")
                _write("\n" if not self._raw else "")
            except SystemExit:
                return self._raw

    def _greet(self):
        _write("raw REPL; CTRL-B to exit\n>" if self._raw else _BANNER)

    def _enter(self, raw):
        self._raw = raw
        self._greet()

    def _raw_command(self):
        """Read code up to Ctrl-D and run it. True: soft reset."""
        code = bytearray()
        while True:
            byte = self._read()
            if byte == b"\x01":
                self._enter(True)
                return False
            if byte == b"\x02":
                _write("\n")
                self._enter(False)
                return False
            if byte == b"\x03":
                code = bytearray()
            elif byte == b"\x05" and not code:
                if self._read() + self._read() == b"A\x01":
                    self._run_raw(self._raw_paste())
                    return False
                _write("R\x00")
            elif byte == b"\x04":
                break
            else:
                code.extend(byte)
        _write("OK")
        if not code:
            _write("\n")
            return True
        self._run_raw(str(code, "utf-8"))
        return False

    def _raw_paste(self):
        """Return code that comes in windows."""
        _write("R\x01")
        sys.stdout.buffer.write(bytes((_WINDOW & 0xFF, _WINDOW >> 8, 1)))
        code = bytearray()
        while True:
            byte = self._read()
            if byte == b"\x04":
                _write("\x04")
                return str(code, "utf-8")
            code.extend(byte)
            if len(code) % _WINDOW == 0:
                _write("\x01")

    def _run_raw(self, code):
        try:
            exec(compile(code, "<stdin>", "exec"), self._names)
        except SystemExit:
            _write("\x04\x04>")
            raise
        except BaseException as error:
            _write("\x04")
            self._show(error)
            _write("\x04>")
            return
        _write("\x04\x04>")

    def _friendly_command(self):
        """Read one statement and run it. True: soft reset."""
        text = self._statement()
        if text is None:
            return True
        if self._raw or not text.strip():
            return False
        pasted = text.startswith("\x05")
        try:
            code = compile(text[pasted:], "<stdin>", "exec" if pasted else "single")
            exec(code, self._names)
        except SystemExit:
            raise
        except BaseException as error:
            self._show(error)
        return False

    def _statement(self):
        """Return what is typed up to the end of a statement; None for Ctrl-D.

        Pasted text begins with \x05.
        """
        prompt = ">>> "
        text = ""
        while True:
            _write(prompt)
            line = self._line()
            if line is None or self._raw or line.startswith("\x05"):
                return line
            text += line + "\n"
            if not _continues(text):
                return text
            prompt = "... "

    def _line(self):
        """Return a line; what was pasted begins with \\x05. None when Ctrl-D ends it."""
        line = ""
        while True:
            byte = self._read()
            if byte == b"\x04" and not line:
                _write("\n")
                return None
            if byte in (b"\x01", b"\x02"):
                self._enter(byte == b"\x01")
                return ""
            if byte == b"\x03":
                raise KeyboardInterrupt
            if byte == b"\x05":
                return "\x05" + self._paste()
            if byte in (b"\r", b"\n"):
                _write("\n")
                return line
            if byte in (b"\x7f", b"\x08"):
                if line:
                    line = line[:-1]
                    _write("\x08 \x08")
            elif byte == b"\x1b":
                self._read()  # cursor keys: ESC [ letter
                self._read()
            elif byte >= b" " or byte == b"\t":
                letter = self._letter(byte)
                line += letter
                _write(letter)

    def _paste(self):
        """Return everything up to Ctrl-D."""
        _write("\npaste mode; Ctrl-C to cancel, Ctrl-D to finish\n=== ")
        text = ""
        while True:
            byte = self._read()
            if byte == b"\x04":
                _write("\n")
                return text
            letter = "\n" if byte == b"\r" else self._letter(byte)
            text += letter
            _write(letter + ("=== " if letter == "\n" else ""))

    def _letter(self, byte):
        """Return the character that begins with `byte` (UTF-8)."""
        first = byte[0]
        more = 3 if first >= 0xF0 else 2 if first >= 0xE0 else 1 if first >= 0xC0 else 0
        for _ in range(more):
            byte += self._read()
        return str(byte, "utf-8")

    def _read(self):
        byte = self._read_byte()
        if not byte:
            raise SystemExit
        return byte


def _continues(text):
    """Say whether a statement needs more lines: open brackets or quotes, or a block."""
    quote = ""
    depth = 0
    i = 0
    while i < len(text):
        if quote:
            if text[i] == "\\":
                i += 1
            elif text.startswith(quote, i):
                i += len(quote) - 1
                quote = ""
            elif text[i] == "\n" and len(quote) == 1:
                quote = ""
        elif text[i] in "\"'":
            quote = text[i] * 3 if text.startswith(text[i] * 3, i) else text[i]
            i += len(quote) - 1
        elif text[i] == "#":
            while i < len(text) - 1 and text[i + 1] != "\n":
                i += 1
        elif text[i] in "([{":
            depth += 1
        elif text[i] in ")]}":
            depth -= 1
        i += 1
    if quote or depth > 0 or text.endswith("\\\n"):
        return True
    return text.startswith(_BLOCKS) and not text.endswith("\n\n")


def _write(text):
    sys.stdout.write(text)
