"""An account of AWS as the place where a fleet's jobs are.

Credentials are found as AWS's own tools find them: profile, environment, role. AWS IoT has one
address for a region's API, and for an account's shadows and jobs others, which it tells itself
(AWS IoT developer guide, "AWS IoT device data and service endpoints").

AWS counts no sequences. The counter is an object of the bucket, which S3 changes only if nobody
else has changed it meanwhile (S3 user guide, "Conditional writes").
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

import boto3
import botocore.session
from botocore.exceptions import ClientError, ProfileNotFound

from twinslot import sequences
from twinslot.account import Account
from twinslot.client import many, shadow
from twinslot.client.clients import Clients, descriptions
from twinslot.errors import ConfigError
from twinslot.formats import aws
from twinslot.formats.manifest import MAX_SEQUENCE

# AWS has limits of calls a second, some ten of a kind; botocore waits, and tries again.
_RETRIES = {"mode": "adaptive", "max_attempts": 10}
_OF_THE_ACCOUNT = {"iot-data": "iot:Data-ATS", "iot-jobs-data": "iot:Jobs"}
"""The services that have an address for each account, and how DescribeEndpoint calls them."""
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict")
_TRIES = 20  # of a change of the counter, at which others change it, too


class AwsAccount(Clients):
    """The account that the table [aws] of fleet.toml names."""

    pause = 2
    most_targets = 100  # AWS IoT Device Management quotas, "Jobs"

    def __init__(self, account: Account) -> None:
        """Raises ConfigError for a profile that is not there, and where no key is found."""
        self.bucket = account.bucket
        self.role = account.role
        self._endpoint = account.endpoint or None
        try:
            core = botocore.session.Session(profile=account.profile or None)
            core.register_component("data_loader", descriptions())
            session = boto3.session.Session(region_name=account.region, botocore_session=core)
            found = session.get_credentials()
        except ProfileNotFound as error:
            raise ConfigError(
                f"aws.profile: this machine has no profile {account.profile!r}; `aws configure "
                f"--profile {account.profile}` makes one"
            ) from error
        if found is None:
            raise ConfigError(
                "no key of AWS is found on this machine: `aws configure` or `aws sso login`, and "
                "aws.profile in fleet.toml if it is not the usual one (docs/aws.md)"
            )
        super().__init__(session)

    @property
    def partition(self) -> str:
        """The first word of ARNs of this region: aws, aws-cn or aws-us-gov."""
        found: str = self._session.get_partition_for_region(self.region)
        return found

    def client(self, service: str, **options: Any) -> Any:
        """A boto3 client of this service, at its own address."""
        url = self._endpoint
        if url is None and service in _OF_THE_ACCOUNT:
            url = f"https://{self.address(_OF_THE_ACCOUNT[service])}"
        return self._made(service, url, None, retries=_RETRIES, **options)

    def address(self, kind: str) -> str:
        """The host that the account has for services of this kind, such as iot:Data-ATS."""
        found: str = self.iot.describe_endpoint(endpointType=kind)["endpointAddress"]
        return found

    def executions(self, job_id: str, counted: many.Counted = many.unseen) -> list[dict[str, Any]]:
        """The executions of a job: a list of them, and a call for the details of each."""
        pages = self.iot.get_paginator("list_job_executions_for_job").paginate(jobId=job_id)
        entries = [entry for page in pages for entry in page["executionSummaries"]]
        # One that tried again has several: what is described is the last one.
        things = list(dict.fromkeys(entry["thingArn"].rpartition("/")[2] for entry in entries))
        return many.each(lambda thing: self._execution(job_id, thing), things, counted)

    def newest(
        self, count: int, things: Sequence[str], counted: many.Counted = many.unseen
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """The newest executions of each thing: an account has jobs of other fleets, too."""

        def of_thing(thing: str) -> list[tuple[str, dict[str, Any]]]:
            return [(job, self._execution(job, thing)) for job in self._jobs(thing)[:count]]

        for found in many.each(of_thing, things, counted):
            yield from found

    def succeeded(self, thing: str) -> list[str]:
        """All jobs that have SUCCEEDED on this thing and are still there."""
        return self._jobs(thing, status=aws.SUCCEEDED)

    def reports(
        self, things: Sequence[str], counted: many.Counted = many.unseen
    ) -> Mapping[str, shadow.Reported | None]:
        """The reports of these things, each by a call of its own."""
        found = many.each(lambda thing: shadow.of_thing(self.data, thing), things, counted)
        return dict(zip(things, found, strict=True))

    def served(self, job_id: str) -> Mapping[str, tuple[int, int]]:  # noqa: ARG002
        """Nothing: AWS does not tell, so the boards' own reports do."""
        return {}

    def reach(self) -> None:
        """Nothing: AWS is its own broker, and always there."""

    def allot(self, product: str, above: int) -> int:
        """Take the next sequence from the counter in the bucket."""
        return self._raise_counter(product, lambda now: sequences.following(max(now, above)))

    def count(self, product: str, sequence: int) -> None:
        """Raise the counter in the bucket to this sequence, unless it is there already."""
        self._raise_counter(product, lambda now: max(now, sequence))

    def _jobs(self, thing: str, **state: str) -> list[str]:
        """The jobs of a thing, the newest first. state: `status` of those to list."""
        pages = self.iot.get_paginator("list_job_executions_for_thing")
        entries = [
            (entry["jobExecutionSummary"]["queuedAt"], entry["jobId"])
            for page in pages.paginate(thingName=thing, **state)
            for entry in page.get("executionSummaries", ())
        ]
        return [*dict.fromkeys(job for _, job in sorted(entries, reverse=True))]

    def _execution(self, job_id: str, thing: str) -> dict[str, Any]:
        found = self.iot.describe_job_execution(jobId=job_id, thingName=thing)["execution"]
        started: datetime | None = found.get("startedAt")
        return {
            "thing": thing,
            "status": found["status"],
            "details": found.get("statusDetails", {}).get("detailsMap", {}),
            "queued_at": int(found["queuedAt"].timestamp()),
            "started_at": None if started is None else int(started.timestamp()),
            "updated_at": int(found["lastUpdatedAt"].timestamp()),
        }

    def _raise_counter(self, product: str, next_of: Callable[[int], int]) -> int:
        """Bring the counter from what it is to `next_of` that, and return it."""
        key = f"sequences/{quote(product, safe='')}.json"
        for _ in range(_TRIES):
            now, unchanged = self._counter(key)
            wanted = next_of(now)
            if wanted == now:
                return now
            try:
                self.s3.put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=json.dumps({"sequence": wanted}).encode(),
                    **unchanged,
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in _CHANGED:
                    raise
            else:
                return wanted
        raise sequences.SequenceError(
            f"others change the counter s3://{self.bucket}/{key} all the time; try again"
        )

    def _counter(self, key: str) -> tuple[int, dict[str, str]]:
        """The counter, and the condition under which it is still that."""
        try:
            found = self.s3.get_object(Bucket=self.bucket, Key=key)
        except self.s3.exceptions.NoSuchKey:
            return 0, {"IfNoneMatch": "*"}
        try:
            now = json.loads(found["Body"].read())["sequence"]
        except (ValueError, RecursionError, KeyError, TypeError):
            now = None
        if type(now) is not int or not 0 <= now <= MAX_SEQUENCE:
            raise sequences.SequenceError(
                f's3://{self.bucket}/{key} is damaged: it should be {{"sequence": 7}}, the highest '
                "sequence of this product's packages"
            )
        return now, {"IfMatch": found["ETag"]}
