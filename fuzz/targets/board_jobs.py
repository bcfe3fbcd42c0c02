"""The board's reader of the Jobs service's messages."""

from ota import jobs
from ota.errors import DataPathError, JobError

ALLOWED = (JobError, DataPathError)
COVERS = ("firmware/ota/jobs.py",)
_FILE = (
    b'{"fileid":0,"filesize":"5","update_data_url":"https://h/a","auth_scheme":"aws.s3.presigned"}'
)
_EXECUTION = (
    b'{"timestamp":1795000000,"execution":{"jobId":"job-1","statusDetails":{"updatedBy":"0x1",'
    b'"self_test":"ready"},"jobDocument":{"afr_ota":{"protocols":["MQTT","HTTP"],'
    b'"streamname":"s","files":[' + _FILE + b"]}}}}"
)
SEEDS = (
    _EXECUTION,
    _EXECUTION.replace(b'"MQTT",', b""),
    _EXECUTION.replace(b',"HTTP"', b""),
    _EXECUTION.replace(b"afr_ota", b"own"),
    b'{"timestamp":-1}',
    b'{"clientToken":"x","code":"RequestThrottled"}',
    b"[",
    b"[]",
    b"$aws/things/a/jobs/job-1/update/accepted",
    b"$aws/things/a/jobs/job-1/update/other",
)
_THINGS = "$aws/things/a/"


def run(data):
    """Read the input as an answer, and as a topic."""
    jobs.token_of(data)
    jobs.is_final(data)
    try:
        jobs.answered_update(str(data, "utf-8"), _THINGS)
    except UnicodeError:
        pass  # `inbox` reads topics
    job, timestamp = jobs.parse(data)
    assert isinstance(timestamp, int) and timestamp >= 0
    if job is not None and job.document is None:
        for prefer in (False, True):
            for fits in (False, True):
                try:
                    jobs.choose(job, prefer, fits)
                except DataPathError:
                    pass
