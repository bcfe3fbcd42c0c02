"""The console: MicroPython's friendly and raw REPL, as far as people and mpremote use them."""

import sys

try:
    from chip_micropython import read_console
except ImportError:
    from chip_cpython import read_console

_BANNER = 'MicroPython simulated board; type "import ota; ota.status()"\r\n'


class Repl:
    """names: the namespace of __main__; raw: begin in raw mode."""

    def __init__(self, names, raw):
        self._names = names
        self._raw = raw

    def run(self):
        """Serve the console until Ctrl-D. Returns whether it was in raw mode."""
        if self._raw:
            self._enter_raw()
        else:
            _write(_BANNER)
        while True:
            try:
                if (self._raw_line if self._raw else self._friendly_line)():
                    return self._raw
            except KeyboardInterrupt:
                _write("\r\n")

    def _enter_raw(self):
        self._raw = True
        _write("raw REPL; CTRL-B to exit\r\n>")

    def _raw_line(self):
        """Read code up to Ctrl-D and run it. True: soft reset."""
        code = bytearray()
        while True:
            byte = _read()
            if byte == b"\x01":
                code = bytearray()
                self._enter_raw()
            elif byte == b"\x02":
                self._raw = False
                _write("\r\n" + _BANNER)
                return False
            elif byte == b"\x05":
                # "\x05A\x01" asks for raw-paste mode; R\x00: not supported.
                _read()
                _read()
                _write("R\x00")
            elif byte == b"\x04":
                break
            else:
                code += byte
        if not code:
            _write("OK\r\n")
            return True
        _write("OK")
        try:
            self._execute(str(code, "utf-8"), "exec")
            _write("\x04")
        except SystemExit:
            _write("\x04\x04")
            raise
        except BaseException as error:
            _write("\x04")
            sys.print_exception(error)
        _write("\x04>")
        return False

    def _friendly_line(self):
        """Read one statement and run it. True: soft reset."""
        _write(">>> ")
        text = ""
        while True:
            line = self._edit()
            if line is None:
                return not self._raw
            text += line + "\n"
            if line.rstrip().endswith(":") or (text.count("\n") > 1 and line):
                _write("... ")
                continue
            break
        if text.strip():
            try:
                self._execute(text, "single")
            except SystemExit:
                raise
            except BaseException as error:
                sys.print_exception(error)
        return False

    def _edit(self):
        """Return a line; None when Ctrl-D ends it, or Ctrl-A leads to raw mode."""
        line = ""
        while True:
            byte = _read()
            if byte == b"\x04" and not line:
                _write("\r\n")
                return None
            if byte == b"\x01":
                self._enter_raw()
                return None
            if byte == b"\x02":
                _write("\r\n" + _BANNER + ">>> ")
                line = ""
            elif byte in (b"\r", b"\n"):
                _write("\r\n")
                return line
            elif byte in (b"\x7f", b"\x08"):
                if line:
                    line = line[:-1]
                    _write("\x08 \x08")
            elif byte >= b" " or byte == b"\t":
                line += str(byte, "utf-8")
                _write(str(byte, "utf-8"))

    def _execute(self, text, mode):
        exec(compile(text, "<stdin>", mode), self._names)


def _read():
    byte = read_console()
    if not byte:
        raise SystemExit
    return byte


def _write(text):
    sys.stdout.write(text)
