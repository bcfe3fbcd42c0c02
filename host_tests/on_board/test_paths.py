"""Which way a job's file comes is decided by what is offered, wanted and possible."""

from expect import raises
from ota.errors import DataPathError
from ota.jobs import Job, choose

HTTPS = "https://bucket.example/x"
HTTP = "http://192.0.2.1/x"


def job(protocols, stream="S", url=HTTPS):
    return Job("J", {}, False, 0, stream, 0, 5000, protocols, url, {}, None, None, None)


def test_what_alone_is_offered_is_taken():
    for prefer in (False, True):
        assert choose(job(["MQTT"]), prefer, True) == "MQTT"
        assert choose(job(["HTTP"]), prefer, True) == "HTTP"


def test_a_protocol_without_what_it_needs_is_not_offered():
    assert choose(job(["MQTT", "HTTP"], stream=None), False, True) == "HTTP"
    assert choose(job(["MQTT", "HTTP"], url=None), True, True) == "MQTT"
    for offered in (
        job(["MQTT"], stream=None),
        job(["HTTP"], url=None),
        job([]),
        job(["COAP"]),
    ):
        raises(DataPathError, choose, offered, False, True)


def test_the_preference_decides_between_both():
    assert choose(job(["MQTT", "HTTP"]), False, True) == "MQTT"
    assert choose(job(["HTTP", "MQTT"]), True, True) == "HTTP"


def test_without_memory_for_tls_https_is_not_tried():
    assert choose(job(["MQTT", "HTTP"]), True, False) == "MQTT"
    assert choose(job(["HTTP"], url=HTTP), True, False) == "HTTP"
    error = raises(DataPathError, choose, job(["HTTP"]), True, False)
    assert "memory" in str(error)
    assert error.reason() == "aborted: 0x2d000000"
