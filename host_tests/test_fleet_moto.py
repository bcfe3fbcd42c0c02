"""The same calls against `fleet serve` and against moto, another imitation of AWS, by boto3.

Where the two differ, `DIFFERENCES` says which of them is right by AWS's documentation, and
docs/moto.md shows it as a table. `make compatibility` writes that page.
"""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from importlib.metadata import version
from typing import Any

import boto3
import pytest
from botocore.config import Config as ClientConfig
from botocore.exceptions import ClientError
from fleet_site import Site
from moto import mock_aws

from tools import compatibility, prose
from tools.paths import ROOT

PAGE = ROOT / "docs/moto.md"
REGION = "eu-central-1"
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"}],
    }
)
INTRODUCTION = """\
# The same calls against moto

[moto](https://github.com/getmoto/moto) imitates AWS for tests, and shares no code with `fleet
serve`. A test sends the same {steps} calls to both through `boto3` and compares the answers, with
times, ids and secrets left out ([the test](../host_tests/test_fleet_moto.py), moto
{version}). {same} answers are the same. moto has none for {absent}.

The others differ. "Right" is judged by AWS's documentation, which the last column names; nobody has
asked AWS itself.

| call | `fleet serve` | moto | right | by |
| --- | --- | --- | --- | --- |
"""

Parameters = dict[str, Any] | Callable[[dict[str, Any]], dict[str, Any]]


@dataclass(frozen=True)
class Step:
    """A call: service, operation as boto3 spells it, parameters, or a function of what was kept.

    keep: under which name its answer is kept for later calls; note: tells it from others.
    """

    service: str
    operation: str
    parameters: Parameters
    note: str = ""
    keep: str = ""

    @property
    def name(self) -> str:
        """How the table calls it."""
        words = "".join(word.capitalize() for word in self.operation.split("_"))
        words = words.replace("Ca", "CA") if words.endswith("WithoutCa") else words
        return f"{words}, {self.note}" if self.note else words


@dataclass(frozen=True)
class Difference:
    """Which one is right, and the page of AWS that says so."""

    right: str
    source: str


def thing(**attributes: str) -> dict[str, Any]:
    return {"attributes": attributes}


def iot(operation: str, note: str = "", keep: str = "", **parameters: Any) -> Step:
    return Step("iot", operation, parameters, note, keep)


def of_certificate(operation: str, note: str = "", **parameters: Any) -> Step:
    """A call about the certificate that was made; "ID" and "ARN" stand for its names."""

    def filled(kept: dict[str, Any]) -> dict[str, Any]:
        words = {"ID": kept["made"]["certificateId"], "ARN": kept["made"]["certificateArn"]}
        return {key: words.get(str(value), value) for key, value in parameters.items()}

    return Step("iot", operation, filled, note)


def of_upload(operation: str, note: str = "", keep: str = "", **parameters: Any) -> Step:
    def filled(kept: dict[str, Any]) -> dict[str, Any]:
        found = {"Bucket": "packages", "Key": "in-parts", **parameters}
        found["UploadId"] = kept["upload"]["UploadId"]
        if operation == "complete_multipart_upload":
            part = {"PartNumber": 1, "ETag": kept["part"]["ETag"]}
            found["MultipartUpload"] = {"Parts": [part]}
        return found

    return Step("s3", operation, filled, note, keep)


def of_job(operation: str, note: str = "", **parameters: Any) -> Step:
    """A call about the job j; "THING" stands for the ARN of the thing whose answer was kept."""

    def filled(kept: dict[str, Any]) -> dict[str, Any]:
        arn = kept["target"]["thingArn"]
        targets = [target.replace("THING", arn) for target in parameters.get("targets", ())]
        return {"jobId": "j", **parameters} | ({"targets": targets} if targets else {})

    return Step("iot", operation, filled, note)


STEPS = [
    iot("create_thing", thingName="b1", attributePayload=thing(room="lab", rack="1")),
    iot(
        "create_thing",
        "again, the same",
        thingName="b1",
        attributePayload=thing(room="lab", rack="1"),
    ),
    iot("describe_thing", thingName="b1"),
    iot("create_thing", "a second one", thingName="b2"),
    iot("list_things"),
    iot("list_things", "by attribute", attributeName="room", attributeValue="lab"),
    iot("list_things", "a page", maxResults=1),
    iot("describe_thing", "an unknown one", thingName="x"),
    iot(
        "update_thing", "merged", thingName="b1", attributePayload={**thing(row="2"), "merge": True}
    ),
    iot("describe_thing", "after a merge", thingName="b1"),
    iot(
        "update_thing",
        "an empty value, merged",
        thingName="b1",
        attributePayload={**thing(row=""), "merge": True},
    ),
    iot("describe_thing", "after an empty value", thingName="b1"),
    iot("update_thing", "replaced", thingName="b1", attributePayload=thing(room="hall")),
    iot("describe_thing", "after a replacement", thingName="b1"),
    iot("update_thing", "of another version", thingName="b1", expectedVersion=99),
    iot("update_thing", "an unknown one", thingName="x"),
    iot(
        "update_thing",
        "four attributes",
        thingName="b1",
        attributePayload=thing(a="1", b="2", c="3", d="4"),
    ),
    iot("update_thing", "one attribute again", thingName="b1", attributePayload=thing(room="hall")),
    iot("create_thing_group", thingGroupName="all"),
    iot("create_thing_group", "again, the same", thingGroupName="all"),
    iot("create_thing_group", "with a parent", thingGroupName="hall", parentGroupName="all"),
    iot("create_thing_group", "with an unknown parent", thingGroupName="z", parentGroupName="x"),
    iot("describe_thing_group", thingGroupName="hall"),
    iot("describe_thing_group", "an unknown one", thingGroupName="x"),
    iot(
        "update_thing_group",
        thingGroupName="all",
        thingGroupProperties={"thingGroupDescription": "d"},
    ),
    iot(
        "update_thing_group",
        "of another version",
        thingGroupName="all",
        thingGroupProperties={},
        expectedVersion=99,
    ),
    iot("list_thing_groups"),
    iot("list_thing_groups", "of a parent", parentGroup="all"),
    iot("list_thing_groups", "not recursive", recursive=False),
    iot("add_thing_to_thing_group", thingName="b1", thingGroupName="hall"),
    iot("add_thing_to_thing_group", "again", thingName="b1", thingGroupName="hall"),
    iot("add_thing_to_thing_group", "of the same hierarchy", thingName="b1", thingGroupName="all"),
    iot("add_thing_to_thing_group", "an unknown thing", thingName="x", thingGroupName="all"),
    iot("list_things_in_thing_group", thingGroupName="hall"),
    iot("list_things_in_thing_group", "recursive", thingGroupName="all", recursive=True),
    iot("list_thing_groups_for_thing", thingName="b2"),
    iot("delete_thing_group", "with children", thingGroupName="all"),
    iot("remove_thing_from_thing_group", thingName="b1", thingGroupName="hall"),
    iot("remove_thing_from_thing_group", "again", thingName="b1", thingGroupName="hall"),
    iot("delete_thing_group", thingGroupName="hall"),
    iot("delete_thing_group", "an unknown one", thingGroupName="x"),
    iot("create_keys_and_certificate", keep="made", setAsActive=True),
    of_certificate("describe_certificate", certificateId="ID"),
    iot("describe_certificate", "an unknown one", certificateId="0" * 64),
    iot("list_certificates"),
    of_certificate("attach_thing_principal", thingName="b1", principal="ARN"),
    of_certificate("attach_thing_principal", "an unknown thing", thingName="x", principal="ARN"),
    of_certificate("list_principal_things", principal="ARN"),
    iot("list_thing_principals", thingName="b1"),
    iot("list_thing_principals", "an unknown thing", thingName="x"),
    iot("delete_thing", "with a certificate", thingName="b1"),
    iot("create_policy", policyName="p", policyDocument=POLICY),
    iot("create_policy", "again", policyName="p", policyDocument=POLICY),
    iot("get_policy", policyName="p"),
    iot("get_policy", "an unknown one", policyName="x"),
    iot("list_policies"),
    of_certificate("attach_policy", policyName="p", target="ARN"),
    of_certificate("attach_policy", "an unknown one", policyName="x", target="ARN"),
    of_certificate("list_attached_policies", target="ARN"),
    iot("delete_policy", "an attached one", policyName="p"),
    of_certificate("delete_certificate", "an active one", certificateId="ID"),
    of_certificate("update_certificate", certificateId="ID", newStatus="INACTIVE"),
    of_certificate("delete_certificate", "an attached one", certificateId="ID"),
    of_certificate("detach_thing_principal", thingName="b1", principal="ARN"),
    of_certificate("detach_policy", policyName="p", target="ARN"),
    of_certificate("update_certificate", "REVOKED", certificateId="ID", newStatus="REVOKED"),
    of_certificate(
        "update_certificate", "ACTIVE after REVOKED", certificateId="ID", newStatus="ACTIVE"
    ),
    of_certificate(
        "update_certificate", "INACTIVE once more", certificateId="ID", newStatus="INACTIVE"
    ),
    of_certificate("delete_certificate", certificateId="ID"),
    iot("delete_policy", policyName="p"),
    iot("create_policy", "no JSON", policyName="q", policyDocument="no"),
    iot(
        "create_thing",
        "again, with other attributes",
        thingName="b2",
        attributePayload=thing(room="x"),
    ),
    iot("delete_thing", thingName="b2"),
    iot("delete_thing", "again", thingName="b2"),
    iot("create_thing", "a third one", thingName="b3"),
    iot("delete_thing", "of another version", thingName="b3", expectedVersion=99),
    iot("describe_endpoint", "of credentials", endpointType="iot:CredentialProvider"),
    iot("create_thing", "for jobs", "target", thingName="b4"),
    of_job("create_job", targets=["THING"], document='{"light":"on"}', description="lamps"),
    of_job("create_job", "again", targets=["THING"], document='{"light":"on"}'),
    of_job("describe_job"),
    of_job("describe_job", "an unknown one", jobId="x"),
    of_job("get_job_document"),
    iot("list_jobs"),
    of_job("list_job_executions_for_job"),
    iot("list_job_executions_for_thing", thingName="b4"),
    of_job("describe_job_execution", thingName="b4"),
    of_job("describe_job_execution", "of another thing", thingName="b1"),
    of_job("cancel_job_execution", thingName="b4"),
    of_job("describe_job_execution", "a cancelled one", thingName="b4"),
    of_job("cancel_job_execution", "again", thingName="b4"),
    of_job("delete_job_execution", thingName="b4", executionNumber=1),
    of_job("describe_job_execution", "a deleted one", thingName="b4"),
    of_job("create_job", "a second one", jobId="k", targets=["THING"], document="{}"),
    of_job("cancel_job", jobId="k", reasonCode="LATE", comment="too late"),
    of_job("describe_job", "a cancelled one", jobId="k"),
    of_job("cancel_job", "again", jobId="k"),
    of_job("delete_job", jobId="k"),
    of_job("describe_job", "a deleted one", jobId="k"),
    of_job("create_job", "of an unknown thing", jobId="x", targets=["THINGx"], document="{}"),
    of_job("create_job", "no JSON", jobId="y", targets=["THING"], document="{"),
    of_job("create_job", "a third one", jobId="l", targets=["THING"], document="{}"),
    of_job("delete_job", "one in progress", jobId="l"),
    iot(
        "create_stream",
        streamId="s",
        files=[{"fileId": 0, "s3Location": {"bucket": "packages", "key": "k"}}],
        roleArn="arn:aws:iam::123456789012:role/r",
    ),
    iot(
        "tag_resource",
        "an unknown group",
        resourceArn=f"arn:aws:iot:{REGION}:123456789012:thinggroup/x",
        tags=[{"Key": "a", "Value": "b"}],
    ),
    Step(
        "iot-data",
        "update_thing_shadow",
        {"thingName": "b1", "shadowName": "ota", "payload": b'{"state":{"desired":{"a":1}}}'},
    ),
    Step("iot-data", "get_thing_shadow", {"thingName": "b1", "shadowName": "ota"}),
    Step(
        "iot-data",
        "update_thing_shadow",
        {
            "thingName": "b1",
            "shadowName": "ota",
            "payload": b'{"state":{"desired":{"a":2}},"version":9}',
        },
        "of another version",
    ),
    Step("iot-data", "list_named_shadows_for_thing", {"thingName": "b1"}),
    Step("iot-data", "delete_thing_shadow", {"thingName": "b1", "shadowName": "ota"}),
    Step("iot-data", "get_thing_shadow", {"thingName": "b1", "shadowName": "ota"}, "a deleted one"),
    Step(
        "s3",
        "create_bucket",
        {"Bucket": "packages", "CreateBucketConfiguration": {"LocationConstraint": REGION}},
    ),
    Step(
        "s3",
        "create_bucket",
        {"Bucket": "packages", "CreateBucketConfiguration": {"LocationConstraint": REGION}},
        "again",
    ),
    Step("s3", "head_bucket", {"Bucket": "packages"}),
    Step("s3", "head_bucket", {"Bucket": "nowhere"}, "an unknown one"),
    Step("s3", "put_object", {"Bucket": "packages", "Key": "a/1", "Body": b"x"}),
    Step(
        "s3", "put_object", {"Bucket": "nowhere", "Key": "a/1", "Body": b"x"}, "an unknown bucket"
    ),
    Step("s3", "head_object", {"Bucket": "packages", "Key": "a/1"}),
    Step(
        "s3",
        "head_object",
        {"Bucket": "packages", "Key": "a/1", "ChecksumMode": "ENABLED"},
        "with checksums",
    ),
    Step("s3", "head_object", {"Bucket": "packages", "Key": "x"}, "an unknown one"),
    Step("s3", "list_objects_v2", {"Bucket": "packages"}),
    Step("s3", "list_objects_v2", {"Bucket": "packages", "Delimiter": "/"}, "with a delimiter"),
    Step("s3", "delete_object", {"Bucket": "packages", "Key": "a/1"}),
    Step("s3", "delete_object", {"Bucket": "packages", "Key": "a/1"}, "again"),
    Step(
        "s3",
        "put_object",
        {"Bucket": "packages", "Key": "k", "Body": b"x", "ChecksumSHA256": "AAAA"},
        "a wrong checksum",
    ),
    Step("s3", "create_multipart_upload", {"Bucket": "packages", "Key": "in-parts"}, "", "upload"),
    of_upload("upload_part", "", "part", PartNumber=1, Body=b"the only part"),
    of_upload("list_parts"),
    of_upload("complete_multipart_upload"),
    of_upload("abort_multipart_upload", "a completed one"),
]

ABSENT = "nothing: NotImplementedError"

OURS, MOTO, OPEN = "`fleet`", "moto", "open"
API = "API reference, "
DIFFERENCES = {
    **{
        f"DescribeThing, after {step}": Difference(
            OURS, API + "DescribeThing: the version grows with each change"
        )
        for step in ("a merge", "an empty value", "a replacement")
    },
    **{
        name: Difference(OURS, API + f"{name.partition(',')[0]}: VersionConflictException")
        for name in (
            "UpdateThing, of another version",
            "DeleteThing, of another version",
        )
    },
    "UpdateThing, four attributes": Difference(
        OURS, "service quotas: three attributes without a thing type"
    ),
    "CreateThing, again, with other attributes": Difference(
        OURS, API + "CreateThing: ResourceAlreadyExistsException"
    ),
    "CreateThingGroup, again, the same": Difference(
        OPEN, API + "CreateThingGroup does not say it, that of CreateThing does"
    ),
    "CreateThingGroup, with an unknown parent": Difference(OURS, "a fault of moto's own"),
    "DescribeThingGroup": Difference(OPEN, API + "DescribeThingGroup shows no group without any"),
    "AddThingToThingGroup, of the same hierarchy": Difference(
        OURS, 'developer guide, "Static thing groups": one group of a hierarchy'
    ),
    "DescribeCertificate": Difference(OURS, API + "CertificateDescription"),
    "ListCertificates": Difference(OURS, API + "Certificate: certificateMode"),
    "GetPolicy": Difference(OURS, API + "GetPolicy: creationDate, lastModifiedDate"),
    **{
        f"UpdateCertificate, {step}": Difference(
            OURS, 'developer guide, "Revoke a client certificate": it cannot be used again'
        )
        for step in ("ACTIVE after REVOKED", "INACTIVE once more")
    },
    "CreatePolicy, no JSON": Difference(OURS, API + "CreatePolicy: MalformedPolicyException"),
    "DeleteThing, again": Difference(
        OURS, API + "DeleteThing: no error for a thing that does not exist"
    ),
    **{
        name: Difference(OURS, API + f"{name.partition(',')[0]}: {error}")
        for name, error in (
            ("CreateJob, again", "ResourceAlreadyExistsException"),
            ("CreateJob, of an unknown thing", "ResourceNotFoundException"),
            ("CancelJobExecution, again", "InvalidStateTransitionException"),
            ("DeleteJob, one in progress", "InvalidStateTransitionException"),
        )
    },
    "CreateJob, no JSON": Difference(OURS, 'developer guide, "Job documents": JSON'),
    **{
        name: Difference(OURS, API + "Job, JobSummary: QUEUED is no status of a job")
        for name in ("DescribeJob", "ListJobs")
    },
    "DescribeJob, a cancelled one": Difference(
        OURS, API + "JobProcessDetails: what was cancelled is no longer queued"
    ),
    **{
        name: Difference(OURS, API + "JobExecutionSummary: startedAt, when it was started")
        for name in ("ListJobExecutionsForJob", "ListJobExecutionsForThing")
    },
    **{
        f"DescribeJobExecution{step}": Difference(
            OURS, API + "JobExecution: seconds before a timeout where there is one"
        )
        for step in ("", ", a cancelled one")
    },
    **{
        name: Difference(OURS, "a fault of moto's own: its execution number is 123, 1 is unknown")
        for name in ("DeleteJobExecution", "DescribeJobExecution, a deleted one")
    },
    "DescribeEndpoint, of credentials": Difference(
        MOTO, "there is no credentials provider here (docs/service.md)"
    ),
    "GetThingShadow": Difference(
        MOTO, 'developer guide, "Response state documents": delta is not kept here'
    ),
    "ListNamedShadowsForThing": Difference(OURS, API + "ListNamedShadowsForThing: timestamp"),
    "DeleteThingShadow": Difference(OPEN, API + "DeleteThingShadow does not say which version"),
    "PutObject, an unknown bucket": Difference(
        MOTO, "here the first object makes its bucket (docs/service.md)"
    ),
    "PutObject, a wrong checksum": Difference(
        OURS, 'S3 user guide, "Checking object integrity": BadDigest'
    ),
    "CompleteMultipartUpload": Difference(
        OURS, API + "CompleteMultipartUpload: VersionId where versions are kept"
    ),
}


def answers(client: Callable[[str], Any]) -> list[Any]:
    """What each step comes to: an answer without what changes each time, or an error's code."""
    kept: dict[str, Any] = {}
    found = []
    for step in STEPS:
        parameters = step.parameters(kept) if callable(step.parameters) else step.parameters
        try:
            answer = getattr(client(step.service), step.operation)(**parameters)
        except ClientError as error:
            found.append(error.response.get("Error", {}).get("Code", ""))
            continue
        except NotImplementedError:
            found.append(ABSENT)
            continue
        except (AttributeError, LookupError, NameError, TypeError) as error:
            found.append(f"breaks down: {type(error).__name__}")
            continue
        if step.keep:
            kept[step.keep] = answer
        answer.pop("ResponseMetadata")
        found.append(settled(answer))
    return found


VOLATILE = [
    (re.compile(r"arn:aws:iot:[\w-]+:\d{12}:"), "ARN:"),
    (re.compile(rf"^(local|{REGION})$"), "REGION"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}\b"), "UUID"),
    (re.compile(r"-----BEGIN.*", re.DOTALL), "PEM"),
]
UNCOMPARED = {"nextToken", "UploadId", "generationId", "validity", "Location", "ownedBy"} | {
    "Owner",
    "Initiator",
}
"""Members that are another one's own by their nature: tokens, accounts, addresses."""


def settled(value: Any) -> Any:
    """A value without times, names of regions and accounts, keys and random ids."""
    if isinstance(value, dict):
        return {key: "..." if key in UNCOMPARED else settled(item) for key, item in value.items()}
    if isinstance(value, list):
        return sorted((settled(item) for item in value), key=str)
    if isinstance(value, datetime):
        return "TIME"
    if hasattr(value, "read"):
        return settled(json.loads(value.read()))
    if isinstance(value, str):
        for pattern, word in VOLATILE:
            value = pattern.sub(word, value)
    if isinstance(value, int) and value > 1_600_000_000:
        return "TIME"
    return value


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Step, Any, Any]]:
    """Each step, with the answers of both."""
    with mock_aws():
        session = boto3.session.Session(region_name=REGION)
        options = ClientConfig(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        theirs = answers(partial(session.client, config=options))
    site = Site(tmp_path_factory.mktemp("moto"))
    site.found_authority()
    ours = answers(site.clients.client)
    site.close()
    return list(zip(STEPS, ours, theirs, strict=True))


def only(one: Any, other: Any, path: str = "") -> list[str]:
    """The parts of an answer that the other one has not, or has otherwise."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = []
        for key in one:
            found += only(one[key], other.get(key), f"{path}.{key}".lstrip("."))
        return found
    if one == other or one in ({}, [], None):
        return []
    if one == "TIME" and other is not None:
        return []
    text = json.dumps(one) if not isinstance(one, str) else one
    return [f"`{path}` {text}" if path else text]


def differ(ours: Any, theirs: Any) -> bool:
    return bool(only(ours, theirs) or only(theirs, ours))


def cell(one: Any, other: Any) -> str:
    parts = only(one, other)
    if not parts:
        return "an answer" if isinstance(one, dict) and not isinstance(other, dict) else "without"
    return ", ".join(parts).replace("|", "/")[:200] if isinstance(other, dict) else (
        one if isinstance(one, str) else "an answer"
    )  # fmt: skip


def page(compared: list[tuple[Step, Any, Any]]) -> str:
    there = [row for row in compared if row[2] != ABSENT]
    absent = sorted({row[0].name.partition(",")[0] for row in compared if row[2] == ABSENT})
    same = [row for row in there if not differ(row[1], row[2])]
    text = INTRODUCTION.format(
        steps=len(compared), same=len(same), version=version("moto"), absent=", ".join(absent)
    )
    for step, ours, theirs in there:
        if differ(ours, theirs):
            said = DIFFERENCES[step.name]
            row = (step.name, cell(ours, theirs), cell(theirs, ours), said.right, said.source)
            text += f"| {' | '.join(row)} |\n"
    return prose.wrapped(text)


def test_every_difference_is_judged_and_no_other_is(
    compared: list[tuple[Step, Any, Any]],
) -> None:
    found = {
        step.name: (ours, theirs)
        for step, ours, theirs in compared
        if theirs != ABSENT and differ(ours, theirs)
    }
    assert {name: found[name] for name in found.keys() - DIFFERENCES.keys()} == {}
    assert sorted(DIFFERENCES.keys() - found.keys()) == []


def test_the_names_of_steps_are_their_own() -> None:
    assert len({step.name for step in STEPS}) == len(STEPS)


@pytest.mark.compatibility("11", "calls come to the same at moto, or docs/moto.md says why")
def test_the_page_shows_the_differences(compared: list[tuple[Step, Any, Any]]) -> None:
    text = page(compared)
    if os.environ.get(compatibility.WRITE):
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text, "run `make compatibility`"


def test_what_is_compared_can_differ() -> None:
    assert differ({"a": 1}, {"a": 2})
    assert differ({"a": 1}, {})
    assert differ({}, {"a": {"b": 1}})
    assert differ("X", {})
    assert not differ({"a": [1, 2]}, {"a": [1, 2], "b": {}})
