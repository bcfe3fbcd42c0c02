"""The board reads every shape of AWS IoT job message, and writes what the service must accept."""

import json

from expect import raises
from mutation import Mutations
from ota import channel, jobs
from ota.errors import DataPathError, JobError
from ota.inbox import Inbox, Stats

# What CreateOTAUpdate makes, with every key that AWS is known to send.
AWS_FILE = {
    "filepath": "/fw/app.bin",
    "filesize": 10000,
    "fileid": 0,
    "certfile": "/certs/signer.pem",
    "fileType": 0,
    "attr": 0,
    "update_data_url": "https://bucket.s3.region.example/fw/app.bin?X-Amz-Expires=1800",
    "auth_scheme": "aws.s3.presigned",
    "sig-sha256-ecdsa": "MEUCIGarghx/ZM93q5/O/tLolwV5GHbGVU4pIqaAaE9LCIV9AiEA0d7HmJvkoUodeYEt",
}
STREAM = "AFR_OTA-0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
THINGS = "$aws/things/meter-17/"


def execution(**changes):
    """Return a job execution as AWS sends it; a change to None leaves the key out."""
    fields = {
        "jobId": "AFR_OTA-fw091",
        "status": "QUEUED",
        "queuedAt": 1700000000,
        "lastUpdatedAt": 1700000000,
        "versionNumber": 1,
        "executionNumber": 1,
        "jobDocument": {
            "afr_ota": {
                "protocols": ["MQTT"],
                "streamname": STREAM,
                "files": [{"filepath": "x.ota", "filesize": 10000, "fileid": 0}],
            }
        },
    }
    changed(fields, changes)
    return fields


def changed(fields, changes):
    for key in changes:
        if changes[key] is None:
            del fields[key]
        else:
            fields[key] = changes[key]


def message(content):
    fields = {"clientToken": "0:meter-17", "timestamp": 1700000100}
    if content is not None:
        fields["execution"] = content
    return json.dumps(fields).encode()


def update_of(**changes):
    """Return an execution whose afr_ota document is changed."""
    content = execution()
    changed(content["jobDocument"]["afr_ota"], changes)
    return content


def file_of(**changes):
    """Return an execution whose one file is changed."""
    content = execution()
    changed(content["jobDocument"]["afr_ota"]["files"][0], changes)
    return content


def job_of(content):
    return jobs.parse(message(content))[0]


def refused(content, says=""):
    """Check that no update is read, by the job's id, and what is said; return the error.

    A document that is one is handed on as it is, for an application that knows what it means.
    """
    try:
        job, _ = jobs.parse(message(content))
    except JobError as found:
        error = found
    else:
        error = job.fault
        assert error and job.document == content["jobDocument"] and not job.file
    assert error.job_id == "AFR_OTA-fw091"
    assert says in str(error), (says, str(error))
    return error


def test_an_update_that_makes_no_sense_is_handed_on_as_a_document_with_its_fault():
    content = file_of(filesize=-1)
    job, _ = jobs.parse(message(content))
    assert job.fault and job.fault.job_id == job.job_id == "AFR_OTA-fw091"
    assert job.document == content["jobDocument"]
    assert not job.file


class Client:
    """Notes what is published, subscribed to and left."""

    def __init__(self):
        self.published, self.subscribed, self.left = [], [], []

    def publish(self, topic, payload, qos=0):
        self.published.append(topic)

    def subscribe(self, topic, qos=0):
        self.subscribed.append(topic)

    def unsubscribe(self, topic):
        self.left.append(topic)


def connected():
    client = Client()
    made = channel.Channel(client, "meter-17", Inbox(Stats()))
    made.open()
    return client, made


def test_the_topics_are_those_of_aws():
    client, made = connected()
    assert made.notify == THINGS + "jobs/notify-next"
    made.ask()
    made.report("AFR_OTA-1", channel.IN_PROGRESS, {})
    assert client.published == [
        THINGS + "jobs/$next/get",
        THINGS + "jobs/AFR_OTA-1/update",
    ]


def test_every_answer_topic_is_subscribed_and_left_again():
    client, made = connected()
    filters = [
        THINGS + "jobs/$next/get/accepted",
        THINGS + "jobs/$next/get/rejected",
        THINGS + "jobs/+/update/accepted",
        THINGS + "jobs/+/update/rejected",
        THINGS + "jobs/notify-next",
    ]
    assert sorted(client.subscribed) == filters
    made.close()
    assert sorted(client.left) == filters


def test_an_answer_to_a_report_names_its_job():
    prefix = "$aws/things/meter-17/jobs/"
    for word, accepted in (("accepted", True), ("rejected", False)):
        topic = prefix + "AFR_OTA-1/update/" + word
        assert jobs.answered_update(topic, THINGS) == ("AFR_OTA-1", accepted)


def test_no_other_topic_passes_for_an_answer_to_a_report():
    for topic in (
        "$aws/things/meter-17/jobs/$next/get/accepted",
        "$aws/things/meter-17/jobs/notify-next",
        "$aws/things/meter-17/jobs/J/update",
        "$aws/things/meter-17/jobs/J/update/accepted/more",
        "$aws/things/meter-17/jobs/J/update/delta",
        "$aws/things/meter-18/jobs/J/update/accepted",
        "$aws/things/meter-17/streams/S/update/accepted",
        "elsewhere/things/meter-17/jobs/J/update/accepted",
        "",
    ):
        assert jobs.answered_update(topic, THINGS) is None, topic


def test_a_queued_job_is_read():
    job, timestamp = jobs.parse(message(execution()))
    assert timestamp == 1700000100
    assert (job.job_id, job.details, job.document) == ("AFR_OTA-fw091", {}, None)
    assert (job.stream, job.file_id, job.file_size) == (STREAM, 0, 10000)
    assert job.protocols == ["MQTT"]
    assert not job.in_self_test
    assert job.updated_by == 0


def test_a_job_is_read_from_a_view_of_the_message():
    assert jobs.parse(memoryview(message(execution())))[0].job_id == "AFR_OTA-fw091"


def test_every_key_that_createotaupdate_writes_is_understood():
    job = job_of(update_of(protocols=["MQTT", "HTTP"], files=[AWS_FILE]))
    assert (job.stream, job.file_size, job.protocols) == (STREAM, 10000, ["MQTT", "HTTP"])
    assert (job.url, job.file) == (AWS_FILE["update_data_url"], AWS_FILE)


def test_an_address_is_one_of_http_that_fits_into_the_first_line_of_a_request():
    for url in ("http://x", "https://bucket.example/a%20b?X=1&Y=~!"):
        assert job_of(file_of(update_data_url=url)).url == url
    assert job_of(execution()).url is None
    for url in ("ftp://x", "x", "", "HTTP://x", 7, [], {}):
        refused(file_of(update_data_url=url), "not an address of http or https")
    for url in ("http://x/a b", "http://x/\r\nHost: y", "http://x/\x7f", "https://\u00fc"):
        refused(file_of(update_data_url=url), "characters that no address may have")
    signed = file_of(update_data_url="https://x", auth_scheme="aws.s3.presigned")
    assert job_of(signed).url == "https://x"
    for scheme in ("basic", "", 7):
        signed = file_of(update_data_url="https://x", auth_scheme=scheme)
        refused(signed, "auth_scheme must be aws.s3.presigned")


def test_the_data_path_is_one_that_the_job_offers_and_the_board_has_memory_for():
    both, mqtt, http = ["MQTT", "HTTP"], ["MQTT"], ["HTTP"]
    for protocols, stream, url, prefer_http, https_fits, chosen in (
        (mqtt, STREAM, None, False, True, "MQTT"),
        (mqtt, STREAM, "http://x", True, True, "MQTT"),
        (http, None, "http://x", False, False, "HTTP"),
        (http, STREAM, "https://x", False, True, "HTTP"),
        (both, STREAM, "http://x", False, True, "MQTT"),
        (both, STREAM, "http://x", True, False, "HTTP"),
        (both, STREAM, "https://x", True, True, "HTTP"),
        (both, STREAM, "https://x", True, False, "MQTT"),
        (both, None, "http://x", False, True, "HTTP"),
        (both, STREAM, None, True, True, "MQTT"),
        (both, None, "https://x", True, False, "no memory for a second TLS connection"),
        (http, STREAM, "https://x", False, False, "no memory for a second TLS connection"),
        (mqtt, None, "http://x", True, True, "neither an MQTT stream nor an address"),
        (http, STREAM, None, True, True, "neither an MQTT stream nor an address"),
        (["BLE"], STREAM, "http://x", True, True, "neither an MQTT stream nor an address"),
        ([], STREAM, "http://x", False, True, "neither an MQTT stream nor an address"),
    ):
        file = dict(AWS_FILE)
        changed(file, {"update_data_url": url})
        job = job_of(update_of(protocols=protocols, streamname=stream, files=[file]))
        if chosen in both:
            assert jobs.choose(job, prefer_http, https_fits) == chosen, (protocols, url)
        else:
            error = raises(DataPathError, jobs.choose, job, prefer_http, https_fits)
            assert chosen in str(error), (protocols, url)


def test_an_answer_is_told_by_the_token_that_it_brings_back():
    assert jobs.token_of(message(None)) == "0:meter-17"
    for payload in (b"{}", b"[]", b"7", b"", b"\xff"):
        assert jobs.token_of(payload) is None, payload


def test_a_job_over_http_needs_no_stream():
    job = job_of(update_of(protocols=["HTTP"], streamname=None, files=[AWS_FILE]))
    assert (job.stream, job.protocols) == (None, ["HTTP"])


def test_a_document_that_leaves_no_heap_for_the_next_step_is_refused_with_its_job():
    found = jobs.mem_free
    try:
        for free, fits in ((4000, False), (8191, False), (8192, True), (0, True)):  # 0: unknown
            jobs.mem_free = lambda free=free: free
            if fits:
                assert job_of(execution(jobDocument={"steps": [1]})).document
            else:
                error = refused(execution(jobDocument={"steps": [1]}), "too little memory")
                assert error.job_id == "AFR_OTA-fw091"
            assert job_of(execution()).stream, "an update leaves nothing of its document"
    finally:
        jobs.mem_free = found


def test_a_document_of_2019_without_protocols_means_mqtt():
    assert job_of(update_of(protocols=None)).protocols == ["MQTT"]


def test_a_started_job_brings_its_times_and_details():
    job = job_of(
        execution(
            status="IN_PROGRESS",
            statusDetails={"self_test": "ready", "updatedBy": "0x7"},
            startedAt=1700000060,
            approximateSecondsBeforeTimedOut=600,
            thingName="meter-17",
        )
    )
    assert job.in_self_test
    assert job.updated_by == 7
    assert job.details == {"self_test": "ready", "updatedBy": "0x7"}
    assert job.queued is None


def test_updated_by_is_read_in_hex_and_decimal_and_is_0_when_unreadable():
    for text, number in (
        ("0x90000", 0x90000),
        ("0x00090000", 0x90000),
        ("0x00000001", 1),
        ("0x000000001", 0),
        ("12", 12),
        ("", 0),
        ("0x", 0),
        ("v.9.1", 0),
        (7, 0),
        ([], 0),
    ):
        assert job_of(execution(statusDetails={"updatedBy": text})).updated_by == number, text


def test_a_progress_report_is_no_self_test():
    assert not job_of(execution(statusDetails={"receive": "64/285"})).in_self_test


def test_an_empty_queue_is_no_job():
    assert jobs.parse(message(None)) == (None, 1700000100)
    assert jobs.parse(b'{"timestamp":1700000900}') == (None, 1700000900)
    assert jobs.parse(b"{}") == (None, 0)


def test_a_time_that_no_chip_can_hold_is_no_time():
    # Some samples of AWS count milliseconds; a chip's clock counts 31 bits of seconds from 2000.
    assert jobs.parse(b'{"timestamp":3094168447}') == (None, 3094168447)
    for text in ("3094168448", "1700000000000", "-1", "1e9", '"1700000000"', "null", "[]"):
        assert jobs.parse(b'{"timestamp":' + text.encode() + b"}") == (None, 0), text


def test_what_is_no_json_object_is_refused_without_a_job_to_fail():
    for payload in (b"", b"\x00", b"{}{}", b"\xff", b"[]", b"null", b"7", b'"execution"'):
        error = raises(JobError, jobs.parse, payload)
        assert error.job_id is None, payload
        why = "the message is missing or not an object"
        if payload in (b"", b"\x00", b"{}{}", b"\xff"):
            why = "the message is not JSON, or nests too deep"
        assert why in str(error), payload
    for content in ([], "text", 7, {}):
        error = raises(JobError, jobs.parse, message(content))
        assert error.job_id is None, content
        usable = "no usable jobId" if content == {} else "execution is missing or not an object"
        assert usable in str(error)


def test_what_nests_without_end_is_refused_like_what_is_no_json():
    for opening in (b"[", b'{"a":', b'{"execution":[', b'{"execution":{"jobId":"j","jobDocument":'):
        for payload in (opening * 40, (opening * 4000)[:4096]):
            assert raises(JobError, jobs.parse, payload).job_id is None
            assert jobs.token_of(payload) is None
            assert jobs.is_final(payload)


def test_a_job_without_a_usable_id_is_refused_without_a_job_to_fail():
    for job_id in ("", "J" * 65, 7, [], "a/b", "a+", "#", "a b", "a\x00", "\u00fc", "$next"):
        assert raises(JobError, jobs.parse, message(execution(jobId=job_id))).job_id is None, job_id
    assert raises(JobError, jobs.parse, message(execution(jobId=None))).job_id is None


def test_a_job_id_of_1_to_64_letters_digits_dashes_and_underlines_is_taken():
    for job_id in ("7", "J" * 64, "azAZ09-_"):
        assert job_of(execution(jobId=job_id)).job_id == job_id


def test_a_job_that_is_no_update_is_failed_by_name():
    for document in ({"afr_ota": []}, {"afr_ota": "x"}, {"afr_ota": None}, [], "x", 7):
        name = "afr_ota" if isinstance(document, dict) else "jobDocument"
        error = refused(execution(jobDocument=document), name + " is missing or not an object")
        assert error.reason() == "0x24000000: 0x00000005"
    refused(execution(jobDocument=None), "jobDocument is missing")


def test_a_job_of_somebody_else_comes_with_its_document_for_the_application():
    for document in ({}, {"operation": "reboot", "steps": [1, None]}):
        job = job_of(execution(jobDocument=document))
        assert job.document == document
        assert job.job_id == "AFR_OTA-fw091"
        assert job.queued == (1700000000, 1), "this execution, and no other of the job"
        assert (job.details, job.in_self_test, job.updated_by) == ({}, False, 0)
        assert (job.stream, job.file_id, job.file_size) == (None, 0, 0)
        assert (job.protocols, job.url, job.file) == ((), None, None)
    assert job_of(execution()).document is None


def test_a_job_names_exactly_one_file():
    for files in ([], [AWS_FILE, AWS_FILE], {}, "x"):
        refused(update_of(files=files), "exactly one file")
    for files in ([[]], ["x"], [7]):
        refused(update_of(files=files), "files[0] is missing or not an object")
    refused(update_of(files=None), "exactly one file")


def test_numbers_may_be_quoted():
    job = job_of(file_of(fileid="3", filesize="10000"))
    assert (job.file_id, job.file_size) == (3, 10000)


def test_a_file_id_is_a_number_from_0_to_255():
    assert job_of(file_of(fileid=255)).file_id == 255
    for value in (-1, 256, "256", "-1", "x", True, [], {}, 1.5):
        assert "fileid" in str(refused(file_of(fileid=value)))
    refused(file_of(fileid=None))


def test_a_file_size_is_a_number_of_32_bits():
    assert job_of(file_of(filesize=0xFFFFFFFF)).file_size == 0xFFFFFFFF
    for value in (-1, 1 << 32, "4294967296", "1e3", True, [], "9" * 300):
        assert "filesize" in str(refused(file_of(filesize=value)))
    refused(file_of(filesize=None))


def test_an_empty_file_has_its_own_error_word():
    assert refused(file_of(filesize=0), "filesize is 0").reason() == "0x24000000: 0x00000004"
    assert refused(file_of(filesize="0")).reason() == "0x24000000: 0x00000004"
    assert JobError("another").reason() == "0x24000000: 0x00000005"


def test_a_stream_name_is_one_level_of_a_topic():
    assert job_of(update_of(streamname="S" * 128)).stream == "S" * 128
    for name in ("", "S" * 129, 7, [], "a/b", "+", "a#", "a b", "a\x00"):
        assert "streamname" in str(refused(update_of(streamname=name)))


def test_protocols_are_a_list_and_details_an_object():
    for value in ("MQTT", {}, 7):
        refused(update_of(protocols=value), "protocols is not a list")
    for value in ("x", [], 7):
        refused(execution(statusDetails=value), "statusDetails is missing or not an object")


def test_a_damaged_message_never_raises_anything_but_joberror():
    damaged = Mutations(1883)
    valid = message(execution(statusDetails={"updatedBy": "0x7"}))
    for _ in range(1500):
        sample = damaged.of(valid)
        try:
            job, timestamp = jobs.parse(sample)
        except JobError:
            continue
        assert isinstance(timestamp, int)
        assert (
            job is None
            or job.document is not None
            or (job.file_size > 0 and isinstance(job.updated_by, int))
        )


def test_a_request_carries_a_token_of_at_most_64_characters():
    assert json.loads(channel.get_request("3:meter-17")) == {"clientToken": "3:meter-17"}
    assert json.loads(channel.get_request("t" * 100)) == {"clientToken": "t" * 64}


def test_a_report_carries_status_and_details():
    payload = channel.update_request(channel.IN_PROGRESS, channel.status_details(receive="64/285"))
    assert isinstance(payload, bytes)
    assert json.loads(payload) == {"status": "IN_PROGRESS", "statusDetails": {"receive": "64/285"}}


def test_details_are_texts_and_nothing_empty_is_sent():
    assert channel.status_details() == {}
    assert channel.status_details("why", a=1, b=None, c="", d=0, e="x") == {
        "reason": "why",
        "a": "1",
        "d": "0",
        "e": "x",
    }


def test_details_have_at_most_ten_pairs_and_the_reason_is_one_of_them():
    many = {}
    for i in range(20):
        many["a%02d" % i] = "x"
    details = channel.status_details("why", **many)
    assert len(details) == 10
    assert details["reason"] == "why"
    assert len(channel.status_details(**many)) == 10


def test_a_detail_is_1_to_1024_printable_characters():
    details = channel.status_details("r" * 2000, text=" a\x00b\nc\x7f\u00fc~", long="l" * 1025)
    assert details == {"reason": "r" * 1024, "text": " a?b?c??~", "long": "l" * 1024}


def test_a_throttled_report_is_sent_again_and_any_other_refusal_is_final():
    for code in ("RequestThrottled", "InternalError"):
        assert not jobs.is_final(json.dumps({"code": code}).encode())
    for code in ("InvalidStateTransition", "ResourceNotFound", "VersionMismatch", "InvalidRequest"):
        assert jobs.is_final(json.dumps({"code": code}).encode())
    for payload in (b"{}", b"", b"[]", b"7", b"null", b"\xff", b'{"code":7}', b'{"code":[]}'):
        assert jobs.is_final(payload), payload
