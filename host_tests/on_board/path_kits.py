"""The data paths that need no network, with their far ends, as `data_path_suite` wants them."""

import engine_world
import stream_service
import toy_service
from chip_bench import Bench
from ota import mqtt_stream, phases, repl_install, source, stream_cbor, stream_json
from ota.jobs import Job
from stream_service import StreamService
from writer_kits import image

SIZE = 10 * 4096 + 300
DATA = bytes(image(SIZE))
# What came through the cable, as it was made: see `stream_service`.
_answers = {}
FORMS = {"cbor": stream_cbor, "json": stream_json}


class Kit:
    """What most kits have in common."""

    blocks = (1024, 4096, 16384)
    patience = 300
    world = None

    def __init__(self):
        Bench()
        self.data = DATA
        self._opened = []

    def turn(self):
        """It answers whenever it is asked."""

    def stray(self):
        """It sends nothing unasked."""

    def break_link(self):
        """It has none."""

    def mend_link(self):
        """It has none."""

    def job(self):
        return None

    def left_open(self):
        return []

    def close(self):
        if self.world:
            self.world.close()


class Nobody:
    """A client whose broker says nothing."""

    def subscribe(self, topic, qos=0):
        pass

    def publish(self, topic, msg, retain=False, qos=0):
        pass


class Stream(Kit):
    """The MQTT stream. form: "cbor" or "json"."""

    def __init__(self, form):
        super().__init__()
        self._form = form

    def open(self, stops_at=None, **settings):
        self._service = StreamService(self.data, self._form)
        self._service.stops_at = stops_at
        json = int(self._form == "json")
        settings = dict(settings, stream_json=json)
        self.world = engine_world.World(self._service, job=self.job(), **settings)
        self.world.engine.modules = phases.PATHS[self._form]
        return self.reopen()

    def reopen(self):
        return mqtt_stream.make(self.world.engine)

    def turn(self):
        self._service.deliver(self.world.inbox)

    def mend(self):
        self._service.stops_at = None

    def stray(self):
        service = self._service
        if not service.coming:
            service.send(0, 0, service.block(0, 4096))
            service.send(1, 4, service.block(4, 4096))
            service.send(0, 2, service.block(2, 4096)[:-1])
            service.send(0, 400, service.block(4, 4096))

    def break_link(self):
        self._service.down = True
        self._service.coming.clear()

    def mend_link(self):
        self._service.down = False

    def job(self):
        url = None
        stream = stream_service.STREAM
        return Job("J", {}, False, 0, stream, 0, SIZE, ["MQTT"], url, {}, None, (1, 1), None)


class File(Kit):
    """A file, which is cut short where it fails."""

    def open(self, stops_at=None, **settings):
        self._folder = engine_world.Folder()
        self._path = self._folder.path + "x.ota"
        self.mend()
        self._watch()
        self.world = engine_world.World(Nobody(), source=self._path, **settings)
        path = self.reopen()
        if stops_at is not None:
            self._write(self.data[: stops_at * 4096])
        return path

    def reopen(self):
        return source.make(self.world.engine)

    def mend(self):
        self._write(self.data)

    def left_open(self):
        return [file for file in self._opened if file.is_open]

    def close(self):
        super().close()
        source._file = open
        for file in self.left_open():
            file.close()
        self._folder.close()

    def _write(self, data):
        with open(self._path, "wb") as file:
            file.write(data)

    def _watch(self):
        self._opened = []

        def recorded(path, mode):
            file = ReadFile(open(path, mode))  # noqa: SIM115, as its source closes it
            self._opened.append(file)
            return file

        source._file = recorded


class ReadFile:
    """A file that is read, and knows whether it is open."""

    def __init__(self, file):
        self._file = file
        self.is_open = True
        self.seek = file.seek
        self.readinto = file.readinto

    def close(self):
        self.is_open = False
        self._file.close()


class Host:
    """The host's end of a console through which a package is sent. stands for `sys` as well."""

    def __init__(self, data):
        self.data = data
        self.stops_at = None
        self.stdin = self.buffer = self
        self._answer = b""

    def said(self, text):
        """A line of the board."""
        word, offset, count = text.split(" ")
        assert word == "ota-read"
        offset, count = int(offset), int(count)
        if (offset, count) not in _answers:
            _answers[offset, count] = stream_service.base64(self.data[offset : offset + count])
        answer = _answers[offset, count]
        if self.stops_at is not None and offset + count > self.stops_at * 4096:
            answer = b"?" * len(answer)
        self._answer = answer

    def readinto(self, text):
        assert len(text) == len(self._answer), "more or less than was asked for"
        text[:] = self._answer


class Cable(Kit):
    """A cable, on which noise comes where it fails."""

    def open(self, stops_at=None, **settings):
        self._host = Host(self.data)
        self._host.stops_at = stops_at
        self._real = repl_install.sys, repl_install.say
        repl_install.sys, repl_install.say = self._host, self._host.said
        self.world = engine_world.World(Nobody(), **settings)
        return self.reopen()

    def reopen(self):
        self.world.engine.source = repl_install.Cable(len(self.data))
        return source.make(self.world.engine)

    def mend(self):
        self._host.stops_at = None

    def close(self):
        super().close()
        repl_install.sys, repl_install.say = self._real


class Toy(Kit):
    """The toy. module: toy_path, or one with a faulty path."""

    address = "toy://x"

    def __init__(self, module):
        super().__init__()
        self._module = module

    def open(self, stops_at=None, **settings):
        self._file = toy_service.FILES[self.address] = toy_service.ToyFile(self.data)
        self._file.stops_at = stops_at
        self.world = engine_world.World(Nobody(), source=self.address, **settings)
        return self.reopen()

    def reopen(self):
        return self._module.make(self.world.engine)

    def mend(self):
        self._file.stops_at = None

    def stray(self):
        if not self._file.coming:
            self._file.send(0, 0, 4096)
            self._file.send(400, 4, 4096)
            self._file.send(2, 10, 4096)
