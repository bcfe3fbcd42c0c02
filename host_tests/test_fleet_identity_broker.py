"""Who may do what, with real clients at the real broker and a real service.

In every test the client that is refused something also does what it may, and gets its answer.
"""

from __future__ import annotations

import base64
import datetime as dt
import os
import re
import signal
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fleet_service import until
from identity_clients import Client, Site, nothing_recorded
from link_fixtures import need
from local_ca import LocalCA

from demo import children
from demo.stack import Stack
from tools import natives
from tools.paths import VENV_BIN
from twinslot import config, gate
from twinslot.addresses import Address
from twinslot.trust import certificates, keys
from twinslot.trust.authority import Authority, read_certificate

A, B = "board-a", "board-b"
DATA = bytes(range(256)) * 40
JOB = "job-a"
BLOCK = {"f": 0, "l": 4096, "n": 1}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    need("mosquitto")
    with Stack(tmp_path_factory.mktemp("identity") / "stack", tls=True) as stack:
        found = Site(stack)
        for thing in (A, B):
            assert f"the service knows {thing}" in found.fleet("provision", thing)
        found.job(A, JOB, DATA)
        yield found


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    yield running
    running.close()


def jobs(thing: str, rest: str) -> str:
    return f"$aws/things/{thing}/jobs/{rest}"


def stream(thing: str, name: str, rest: str) -> str:
    return f"$aws/things/{thing}/streams/{name}/{rest}"


def ask_next(client: Client, thing: str) -> Any:
    """What a thing asks first of all; the execution that it is given, None without one."""
    topic = jobs(thing, "$next/get")
    return client.ask(topic, {"clientToken": "t"}, topic + "/accepted").get("execution")


def get_block(site: Site, client: Client, thing: str, name: str) -> bytes:
    """The first block of a stream, when the service has noted that it gave it."""
    before = site.served(name, thing)
    topic = stream(thing, name, "get/json")
    answer = client.ask(topic, BLOCK, stream(thing, name, "data/json"))
    until(lambda: site.served(name, thing) == before + 1, "the note of one block")
    return base64.b64decode(answer["p"])


def test_a_thing_gets_its_job_and_its_stream_and_another_hears_nothing_of_it(site: Site) -> None:
    a, b = site.thing(A), site.thing(B)
    assert ask_next(a, A)["jobId"] == JOB
    assert get_block(site, a, A, JOB) == DATA[:4096]
    update = jobs(A, f"{JOB}/update")
    a.ask(update, {"status": "IN_PROGRESS"}, update + "/accepted")
    site.job(A, "job-a2", DATA)
    until(lambda: a.topic(jobs(A, "notify")), "what was not asked for")
    site.stack.clients.iot.cancel_job(jobId="job-a2", force=True)
    assert site.stack.execution(JOB, A)["status"] == "IN_PROGRESS"
    assert ask_next(b, B) is None
    assert [topic for topic, _ in b.got] == [jobs(B, "$next/get/accepted")]


def test_another_things_jobs_and_stream_are_out_of_reach(site: Site) -> None:
    a, b = site.thing(A), site.thing(B)
    with nothing_recorded(site, answers=2):
        b.publish(jobs(A, "$next/get"), {})
        b.publish(jobs(A, "get"), {})
        b.publish(jobs(A, "start-next"), {})
        b.publish(jobs(A, f"{JOB}/get"), {})
        b.publish(jobs(A, f"{JOB}/update"), {"status": "REJECTED"})
        b.publish(stream(A, JOB, "get/json"), BLOCK)
        b.publish(stream(A, JOB, "describe/json"), {})
        assert ask_next(b, B) is None
        assert ask_next(a, A)["jobId"] == JOB
    assert [topic for topic, _ in a.got] == [jobs(A, "$next/get/accepted")]
    assert [topic for topic, _ in b.got] == [jobs(B, "$next/get/accepted")]


def test_a_thing_writes_and_reads_its_own_shadow_alone(site: Site) -> None:
    a, b = site.thing(A), site.thing(B)
    root = "$aws/things/{}/shadow/name/{}/{}"
    evil = {"state": {"reported": {"version": "evil"}}}
    update = root.format(A, "ota", "update")
    a.ask(update, {"state": {"reported": {"version": "1.0.0"}}}, update + "/accepted")
    with nothing_recorded(site, answers=1):
        b.publish(update, evil)
        b.publish(root.format(A, "ota", "get"), {})
        b.publish(root.format(B, "another", "update"), evil)
        b.publish(f"$aws/things/{B}/shadow/update", evil)
        b.publish(root.format(A, "ota", "update/accepted"), evil)
        assert ask_next(b, B) is None
    assert [topic for topic, _ in a.got] == [update + "/accepted"]
    assert [topic for topic, _ in b.got] == [jobs(B, "$next/get/accepted")]
    get = root.format(A, "ota", "get")
    found = a.ask(get, {}, get + "/accepted")
    assert found["state"] == {"reported": {"version": "1.0.0"}}


def test_a_stream_without_an_open_execution_yields_no_block(site: Site) -> None:
    a, b = site.thing(A), site.thing(B)
    site.job(B, "job-b", DATA)
    assert get_block(site, b, B, "job-b") == DATA[:4096]
    before = site.served(JOB, A)
    refused = b.ask(stream(B, JOB, "get/json"), BLOCK, stream(B, JOB, "rejected/json"))
    assert refused["o"] == "Unauthorized"
    update = jobs(B, "job-b/update")
    b.ask(update, {"status": "SUCCEEDED"}, update + "/accepted")
    refused = b.ask(stream(B, "job-b", "get/json"), BLOCK, stream(B, "job-b", "rejected/json"))
    assert refused["o"] == "Unauthorized"
    assert not b.topic(stream(B, JOB, "data/json"))
    assert len(b.topic(stream(B, "job-b", "data/json"))) == 1
    site.job(B, "job-b2", DATA)
    get_block(site, b, B, "job-b2")  # all that was served before it is noted by now
    site.stack.clients.iot.cancel_job(jobId="job-b2", force=True)
    assert (site.served("job-b", B), site.served(JOB, A)) == (1, before)
    assert ask_next(a, A)["jobId"] == JOB
    assert [topic for topic, _ in a.got] == [jobs(A, "$next/get/accepted")]


def test_nobody_but_the_service_publishes_answers(site: Site) -> None:
    a = site.thing(A)
    b = site.thing(B, will=(jobs(A, "notify-next"), b"{}"))
    job = {"timestamp": 1, "execution": {"jobId": "evil", "status": "QUEUED", "jobDocument": {}}}
    with nothing_recorded(site, answers=3):
        for thing in (A, B):
            for topic in ("notify-next", "notify", "$next/get/accepted", f"{JOB}/update/accepted"):
                b.publish(jobs(thing, topic), job)
            b.publish(stream(thing, JOB, "data/json"), {"f": 0, "i": 0, "l": 1, "p": "AA=="})
            b.publish(stream(thing, JOB, "rejected/json"), {"o": "ResourceNotFound", "m": ""})
        b.publish("elsewhere", {})
        assert ask_next(b, B) is None
        b.close(politely=False)
        late = site.thing(B)
        assert ask_next(late, B) is None
        assert ask_next(a, A)["jobId"] == JOB
    assert [topic for topic, _ in a.got] == [jobs(A, "$next/get/accepted")]
    assert [topic for topic, _ in b.got + late.got] == [jobs(B, "$next/get/accepted")] * 2


def test_who_wants_the_broker_to_retain_something_is_cut_and_nothing_is_kept(site: Site) -> None:
    b = site.thing(B)
    with nothing_recorded(site, answers=2):
        b.publish(jobs(B, "$next/get"), {}, retain=True)
        b.wait_cut()
        late = site.thing(B)
        assert ask_next(late, B) is None
        assert ask_next(site.thing(A), A)["jobId"] == JOB
    assert [topic for topic, _ in late.got] == [jobs(B, "$next/get/accepted")]


def test_who_says_it_is_another_stays_itself(site: Site) -> None:
    """The client id and the user name that a client gives count for nothing."""
    a = site.thing(A)
    for claimed in (A, certificates.SERVICE, "fleet-demo-board"):
        b = site.thing(B, client_id=claimed, user=claimed)
        with nothing_recorded(site, answers=1):
            b.publish(jobs(A, f"{JOB}/update"), {"status": "REJECTED"})
            b.publish(jobs(A, "notify-next"), {})
            assert ask_next(b, B) is None
        assert [topic for topic, _ in b.got] == [jobs(B, "$next/get/accepted")]
    assert a.connected
    assert ask_next(a, A)["jobId"] == JOB
    assert [topic for topic, _ in a.got] == [jobs(A, "$next/get/accepted")]


def test_the_service_has_a_listener_where_a_thing_is_no_more_than_a_thing(site: Site) -> None:
    port = site.stack.config.broker.address.port
    assert port != site.stack.broker_port
    b = site.thing(B, port=port, client_id=certificates.SERVICE)
    with nothing_recorded(site, answers=1):
        b.publish(jobs(A, f"{JOB}/update"), {"status": "REJECTED"})
        assert ask_next(b, B) is None
    assert not site.client(None, port=port).connected


def test_without_a_valid_certificate_of_the_fleet_nobody_gets_in(
    site: Site, tmp_path: Path
) -> None:
    authority = Authority(site.folder / "ca")
    ca, key = authority.certificate, authority.key
    other = keys.generate()
    past = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
    future = dt.datetime(2045, 1, 1, tzinfo=dt.UTC)
    with nothing_recorded(site, answers=1):
        assert not site.client(None, client_id=A).connected
        assert not site.client(None, client_id=A, user=certificates.SERVICE).connected
        assert not site.client(site.forged(A, ca, key, end=past)).connected
        assert not site.client(site.forged(A, ca, key, begin=future)).connected
        forged_ca = certificates.authority(other, certificates.name_of(ca))
        assert not site.client(site.forged(A, forged_ca, other)).connected
        own = gate.Paths(site.folder / "broker")
        assert not site.client((own.certificate, own.key)).connected, "a server is no client"
        assert ask_next(site.thing(A), A)["jobId"] == JOB


def test_a_revoked_thing_is_refused_at_once_and_kept_out_for_good(site: Site) -> None:
    """At once by the service; by the broker as soon as it has read the list; then it is cut."""
    thing = "board-c"
    a = site.thing(A)
    site.fleet("provision", thing)
    site.job(thing, "job-c", DATA)
    old = [path.read_bytes() for path in site.identity(thing)]
    live = site.thing(thing)
    assert ask_next(live, thing)["jobId"] == "job-c"
    heard = len(live.got)

    shown = site.fleet("revoke", thing)
    for words in ("answers board-c no more", "kill -HUP", "broker/mosquitto.pid", "--disconnect"):
        assert words in shown
    with nothing_recorded(site, answers=1):
        live.publish(jobs(thing, "$next/get"), {})
        live.publish(jobs(thing, "job-c/update"), {"status": "SUCCEEDED"})
        live.publish(jobs(thing, "nonsense/update"), b"no JSON")
        live.publish(stream(thing, "job-c", "get/json"), BLOCK)
        live.publish(stream(thing, "job-c", "get/json"), b"no JSON")
        assert ask_next(a, A)["jobId"] == JOB
    get_block(site, a, A, JOB)  # all that was served before it is noted by now
    assert site.served("job-c", thing) == 0
    with pytest.raises(Exception, match="board-c is revoked"):
        site.job(thing, "job-d", DATA)
    site.stack.clients.iot.cancel_job(jobId="job-c", force=True)
    assert ask_next(a, A)["jobId"] == JOB
    said = site.fleet("doctor", code=1)
    assert "WRONG  board-c is revoked, but the broker still lets it in" in said
    assert re.search(r"kill -HUP \$\(cat \S*broker/mosquitto.pid\)", said)
    assert live.connected
    assert len(live.got) == heard, "a revoked thing is told nothing, not even that its job ended"

    hang_up(site)
    until(lambda: is_locked_out(site, thing), "the broker's new list")
    assert live.connected
    assert "ok     board-c is revoked, and the broker refuses it" in site.fleet("doctor")
    site.fleet("revoke", thing, "--disconnect")
    live.wait_cut()
    assert not site.client(site.identity(thing)).connected
    assert a.connected
    assert ask_next(a, A)["jobId"] == JOB

    site.fleet("provision", thing, code=1)
    site.fleet("provision", thing, "--renew")
    assert ask_next(site.thing(thing), thing) is None
    for path, data in zip(site.identity(thing), old, strict=True):
        path.write_bytes(data)
    assert not site.client(site.identity(thing)).connected


def is_locked_out(site: Site, thing: str) -> bool:
    """Whether the broker has read that a thing is revoked.

    A client of the thing's own would not do: before that it is let in, and takes the thing's name
    from the connection that has it.
    """
    authority = Authority(site.folder / "ca")
    certificate = read_certificate(site.identity(thing)[0])
    address = Address("127.0.0.1", site.stack.broker_port)
    return not gate.lets_in(authority, address, certificate, dt.datetime.now(dt.UTC))


def hang_up(site: Site) -> None:
    """SIGHUP, as `fleet revoke` says."""
    os.kill(int((site.folder / "broker/mosquitto.pid").read_text()), signal.SIGHUP)


def test_the_doctor_finds_a_running_fleet_well_and_notes_what_disagrees(site: Site) -> None:
    assert "WRONG" not in site.fleet("doctor")
    site.stack.clients.revoke(B)
    assert f"the service refuses {B}, whose certificate is valid" in site.fleet("doctor", code=1)
    site.stack.clients.admit(B)
    site.fleet("revoke", "board-unknown", code=1)
    noted = site.stack.config.broker.boards
    assert noted is not None
    toml = site.folder / "fleet.toml"
    config.set_broker(toml, {"boards": f"127.1:{noted.port}"})  # the same machine by another name
    assert f"127.1:{noted.port} has a wrong certificate: Hostname" in site.fleet("doctor", code=1)
    config.set_broker(toml, {"boards": str(noted)})
    assert "WRONG" not in site.fleet("doctor")
    assert ask_next(site.thing(B), B) is None


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start a broker as somebody else")
def test_a_broker_that_root_starts_becomes_the_user_and_reads_its_files_and_new_lists() -> None:
    """In a path with a blank, which mosquitto's settings must bear."""
    need("mosquitto")
    with tempfile.TemporaryDirectory(prefix="fleet of one ") as name:
        folder = Path(name)
        folder.chmod(0o755)
        run = partial(subprocess.run, cwd=folder, check=True, capture_output=True, text=True)
        port, service_port = children.free_port(), children.free_port()
        run([VENV_BIN / "fleet", "init"])
        options = ["--port", str(port), "--service-port", str(service_port), "--user", "nobody"]
        run([VENV_BIN / "fleet", "broker-config", *options])
        run([VENV_BIN / "fleet", "provision", A])
        command = [*natives.command("mosquitto"), "-c", str(folder / "broker/mosquitto.conf")]
        process = children.start(command, folder / "log")
        try:
            children.wait_for(partial(children.listens, port), "the broker's start")
            pid = int((folder / "broker/mosquitto.pid").read_text())
            assert Path(f"/proc/{pid}").stat().st_uid == 65534
            board = folder / "boards" / A
            identity = board / "client.pem", board / "client.key"
            first = Client(port, board / "ca.pem", identity)
            assert first.connected
            first.close()
            Authority(folder / "ca").revoke(A)
            gate.copy_crl(Authority(folder / "ca"), folder / "broker")
            os.kill(pid, signal.SIGHUP)
            until(lambda: not Client(port, board / "ca.pem", identity).connected, "the new list")
        finally:
            children.stop(process)


@pytest.mark.slow
def test_a_board_whose_clock_stands_at_2000_joins_takes_an_update_and_knows_the_time(
    tmp_path: Path,
) -> None:
    """MicroPython's mbedTLS, mosquitto, `fleet serve`, and a settings folder as provision made it.

    The simulated board's own clock starts in 2000; mbedTLS, which is the interpreter's, sees this
    machine's. The test after this one turns that back, too.
    """
    need("micropython")
    app = (
        "import machine, time\n"
        "_RTC = machine.RTC\n"
        "class RTC:\n"
        "    def datetime(self, *when):\n"
        "        before = time.gmtime()[0]\n"
        "        _RTC().datetime(*when)\n"
        "        print('CLOCK', before, time.gmtime()[0])\n"
        "machine.RTC = RTC\n"
    )
    with Stack(tmp_path / "stack", interpreter="micropython", tls=True) as stack:
        board = stack.board(application={"/app.py": app.encode()})
        board.start()
        year = dt.datetime.now(dt.UTC).year
        board.wait_console(f"CLOCK 2000 {year}", 60)
        job = stack.publish(stack.pack("1.1.0", 2))
        children.wait_for(lambda: stack.finished(job), "the update", 90)
        execution = stack.execution(job)
        assert execution["status"] == "SUCCEEDED", execution["statusDetails"]
        assert board.boots[-1][0] == 1
        assert board.log_path.read_text().count("CLOCK") == 1, "right at first, and so left alone"


@pytest.mark.slow
def test_mbedtls_in_the_year_2000_takes_the_fleets_certificates_and_no_younger_ones(
    tmp_path: Path, site: Site
) -> None:
    """MicroPython's real mbedTLS, to which the C library says that it is 2000-01-01 00:00:05."""
    need("micropython")
    library = tmp_path / "clock.so"
    source = "long time(long *t) { if (t) *t = 946684805; return 946684805; }"
    try:
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-nostdlib", "-x", "c", "-", "-o", library],
            input=source.encode(),
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("no C compiler, with which to turn the clock back")
    board = site.folder / "boards" / A
    young = LocalCA(tmp_path / "young")
    server = young.issue("server", "127.0.0.1", begin=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))

    def connect(ca: Path, port: int) -> str:
        script = tmp_path / "connect.py"
        script.write_text(CONNECT)
        files = [ca, board / "client.pem", board / "client.key"]
        done = subprocess.run(
            [*natives.command("micropython"), script, *files, str(port)],
            env={"LD_PRELOAD": str(library)},
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.stdout + done.stderr

    assert "CONNACK 0" in connect(board / "ca.pem", site.stack.broker_port)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*server)
    plain = socket.create_server(("127.0.0.1", 0))
    with context.wrap_socket(plain, server_side=True) as listener, ThreadPoolExecutor(1) as pool:
        listener.settimeout(20)
        accepted = pool.submit(listener.accept)
        assert "starts in the future" in connect(young.path, listener.getsockname()[1])
        with pytest.raises(ssl.SSLError):
            accepted.result(timeout=20)


CONNECT = """
import socket, sys, tls
def read(name):
    with open(name, "rb") as file:
        return file.read()
context = tls.SSLContext(tls.PROTOCOL_TLS_CLIENT)
context.verify_mode = tls.CERT_REQUIRED
context.load_verify_locations(read(sys.argv[1]))
context.load_cert_chain(read(sys.argv[2]), read(sys.argv[3]))
sock = socket.socket()
sock.connect(socket.getaddrinfo("127.0.0.1", int(sys.argv[4]))[0][-1])
sock = context.wrap_socket(sock, server_hostname="127.0.0.1")
sock.write(b"\\x10\\x0d\\x00\\x04MQTT\\x04\\x02\\x00\\x3c\\x00\\x01x")
print("CONNACK", sock.read(4)[3])
"""
