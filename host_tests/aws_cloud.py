"""An account of AWS for tests: moto answers, and AWS's own models judge every request.

No AWS can be reached here. So each request is checked against botocore's models before it goes: its
members and types, as botocore does for everybody, and beyond that lengths, patterns and words. Then
moto answers it. It has no streams, no connections, and another address of the account's data than
the one that it listens at; answers of these are made here, and checked against the models, too.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator
from click.testing import CliRunner, Result
from moto import mock_aws
from moto.iot.models import iot_backends

from twinslot import config
from twinslot.addresses import Address
from twinslot.cli.main import main
from twinslot.client.aws_account import AwsAccount
from twinslot.formats import aws

REGION = "eu-central-1"
BUCKET = "my-packages"
ROLE = "arn:aws:iam::123456789012:role/fleet-packages"
DATA = f"data-ats.iot.{REGION}.amazonaws.com"  # where moto answers for iot-data
TABLE = f"""
[aws]
region = "{REGION}"
bucket = "{BUCKET}"
role = "{ROLE}"
"""
ACCOUNT = "123456789012"
NOT_IN_MOTO = {"CreateStream", "DescribeStream", "DeleteStream", "DeleteConnection"}


def judge(shape: Any, value: Any, where: str = "") -> None:
    """Assert that a value is what a model of AWS allows. Enough for the shapes of iot and s3."""
    report = ParamValidator().validate(value, shape)
    assert not report.has_errors(), report.generate_report()
    _judge_rest(shape, value, where)


def _judge_rest(shape: Any, value: Any, where: str) -> None:
    if shape.type_name == "structure":
        for name, inner in value.items():
            _judge_rest(shape.members[name], inner, f"{where}.{name}")
        return
    most = shape.metadata.get("max")
    if shape.type_name in ("string", "list", "map"):
        assert most is None or len(value) <= most, f"{where} is longer than {most}"
    elif shape.type_name in ("integer", "long"):
        assert most is None or value <= most, f"{where} is above {most}"
    if shape.type_name == "string":
        pattern = shape.metadata.get("pattern", "").replace(r"\p{C}", r"\x00-\x1f\x7f-\x9f")
        pattern = pattern.replace("^(?!", "(?!")
        assert not pattern or re.fullmatch(pattern, value), f"{where}: {value!r} is not {pattern}"
        assert not shape.enum or value in shape.enum, f"{where}: {value!r} is none of {shape.enum}"
    elif shape.type_name == "list":
        for item in value:
            _judge_rest(shape.member, item, where)
    elif shape.type_name == "map":
        for key, item in value.items():
            _judge_rest(shape.key, key, where)
            _judge_rest(shape.value, item, where)


class Cloud:
    """The account, and `fleet --to aws` in a folder whose fleet.toml names it.

    asked: the service, the operation and the values of each request; board: states and details that
    a thing's job goes through, one at each look.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.addresses: dict[str, str] = {}
        self.board: dict[str, Iterator[tuple[str, dict[str, str]]]] = {}
        self.streams: dict[str, dict[str, Any]] = {}
        self.connected: set[str] = set()
        self.refuse: dict[str, Exception] = {}
        self.quiet = False
        self._one = threading.Lock()
        self.made_up: dict[str, Callable[..., dict[str, Any]]] = {
            "CreateStream": self._create_stream,
            "DescribeStream": self._describe_stream,
            "DeleteStream": self._delete_stream,
            "DescribeEndpoint": lambda *_, **__: {"endpointAddress": DATA},
            "DeleteConnection": self._delete_connection,
        }
        config.create(
            folder,
            product="demo-board",
            chip="esp32",
            slot_size=0x1B0000,
            broker=Address("127.0.0.1", 1),
            tls=False,
        )
        self.toml = folder / "fleet.toml"
        self.toml.write_text(self.toml.read_text() + TABLE)

    @property
    def config(self) -> config.Config:
        return config.load(self.toml, to_aws=True)

    @property
    def operations(self) -> list[str]:
        return [operation for _, operation, _ in self.asked]

    def fleet(self, *arguments: str, code: int = 0) -> Result:
        """Run `fleet --to aws`."""
        done = CliRunner(env={"COLUMNS": "80"}).invoke(
            main, ["--config", str(self.toml), "--to", "aws", *arguments]
        )
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == code, done.output
        return done

    def account(self) -> AwsAccount:
        account = self.config.account
        assert account is not None
        return AwsAccount(account)

    @contextmanager
    def by_hand(self) -> Iterator[Any]:
        """A client of `iot` whose requests are not counted as the commands'."""
        self.quiet = True
        yield boto3.client("iot", region_name=REGION)
        self.quiet = False

    def things(self, *names: str) -> None:
        with self.by_hand() as iot:
            for name in names:
                iot.create_thing(thingName=name)

    def report(self, thing: str, **values: Any) -> None:
        """What a board says of itself in its shadow."""
        with self.by_hand():
            data = boto3.client("iot-data", region_name=REGION, endpoint_url=f"https://{DATA}")
            data.update_thing_shadow(
                thingName=thing,
                shadowName=aws.SHADOW,
                payload=json.dumps({"state": {"reported": values}}),
            )

    def say(self, job: str, thing: str, status: str, **details: str) -> None:
        """What a board reports of a job: moto has no iot-jobs-data."""
        execution = iot_backends[ACCOUNT][REGION].job_executions[job, thing]
        execution.status = status
        execution.status_details_map = details
        execution.last_updated_at = datetime.now(UTC).replace(tzinfo=None)

    def certificates(self, thing: str) -> dict[str, str]:
        """The certificates of a thing, and the state of each."""
        with self.by_hand() as iot:
            return {
                arn: iot.describe_certificate(certificateId=arn.rpartition("/")[2])[
                    "certificateDescription"
                ]["status"]
                for arn in iot.list_thing_principals(thingName=thing)["principals"]
            }

    def call(self, real: Any, client: BaseClient, operation: str, values: dict[str, Any]) -> Any:
        """Carry out a request of any client in this process."""
        service = client.meta.service_model
        model = service.operation_model(operation)
        if model.input_shape is not None:
            judge(model.input_shape, _without_body(values), operation)
        if self.quiet:
            return real(client, operation, values)
        self.asked.append((service.service_name, operation, values))
        self.addresses[service.service_name] = client.meta.endpoint_url
        if error := self.refuse.get(operation):
            raise error
        if operation == "DescribeJobExecution" and (
            step := next(self.board.get(values["thingName"], iter(())), None)
        ):
            self.say(values["jobId"], values["thingName"], step[0], **step[1])
        if own := self.made_up.get(operation):
            answer = own(client, **values)
            if model.output_shape is not None:
                judge(model.output_shape, answer, operation)
            return answer
        with self._one:  # S3 looks at a condition and writes as one; moto does not
            return real(client, operation, values)

    def _create_stream(self, client: Any, streamId: str, **values: Any) -> dict[str, Any]:  # noqa: N803
        if streamId in self.streams:
            raise refusal(client, "ResourceAlreadyExistsException")
        self.streams[streamId] = values
        return {"streamId": streamId, "streamVersion": 1}

    def _describe_stream(self, client: Any, streamId: str) -> dict[str, Any]:  # noqa: N803
        if streamId not in self.streams:
            raise refusal(client, "ResourceNotFoundException")
        return {"streamInfo": {"streamId": streamId, **self.streams[streamId]}}

    def _delete_stream(self, client: Any, streamId: str) -> dict[str, Any]:  # noqa: N803
        del self.streams[streamId]
        return {}

    def _delete_connection(self, client: Any, clientId: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        if clientId not in self.connected:
            raise refusal(client, "ResourceNotFoundException")
        self.connected.remove(clientId)
        return {}


def refusal(client: Any, code: str) -> ClientError:
    error: ClientError = client.exceptions.from_code(code)(
        {"Error": {"Code": code, "Message": "refused"}}, "AnyOperation"
    )
    return error


def _without_body(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "Body"}


@contextmanager
def in_an_account(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """An empty account with a bucket, and a folder of a fleet."""
    for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(AwsAccount, "pause", 0.01)
    monkeypatch.chdir(folder)
    with mock_aws():
        boto3.client("s3", region_name=REGION).create_bucket(
            Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION}
        )
        made = Cloud(folder)
        real = BaseClient._make_api_call
        monkeypatch.setattr(
            BaseClient,
            "_make_api_call",
            lambda client, operation, values: made.call(real, client, operation, values),
        )
        yield made
