"""`fleet --to aws`: the same commands against an account of AWS, by AWS's API alone.

No AWS can be reached here: `aws_cloud` says who answers, and what judges the requests.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_cloud import (
    BUCKET,
    DATA,
    NOT_IN_MOTO,
    REGION,
    ROLE,
    Cloud,
    in_an_account,
    judge,
    refusal,
)
from botocore.exceptions import EndpointConnectionError
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from esp_images import app
from test_docs import code, rows

from tools.paths import ROOT
from twinslot import config
from twinslot.account import Account
from twinslot.cli.main import main as fleet_command
from twinslot.client import policy
from twinslot.client import publish as publishing
from twinslot.client.publish import PublishError
from twinslot.errors import ConfigError
from twinslot.formats import package as package_format
from twinslot.formats.component import firmware_content
from twinslot.sequences import SequenceError
from twinslot.trust import certificates, keys, signing

THING = "board-1"
MAIN = "print('on')\n"


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with in_an_account(tmp_path, monkeypatch) as made:
        yield made


def folder(cloud: Cloud, text: str = MAIN) -> None:
    (cloud.folder / "app").mkdir(exist_ok=True)
    (cloud.folder / "app/main.py").write_text(text)


def package(cloud: Cloud, sequence: int = 7) -> Path:
    key = keys.read_private(cloud.config.signing_key)
    path = cloud.folder / f"{sequence}.ota"
    path.write_bytes(
        signing.build([firmware_content(app(1000))], key, "demo-board", "1.1.0", sequence, 1)
    )
    return path


def takes(cloud: Cloud, *steps: tuple[str, dict[str, str]], thing: str = THING) -> None:
    """Let a board go through these states of its next job."""
    cloud.board[thing] = iter(steps)


GOOD: tuple[tuple[str, dict[str, str]], ...] = (
    ("QUEUED", {}),
    ("IN_PROGRESS", {"receive": "3/12"}),
    ("IN_PROGRESS", {"self_test": "ready"}),
    ("SUCCEEDED", {"reason": "accepted v dev-2"}),
)


# -- push and publish -----------------------------------------------------------------------------


def test_the_same_push_packs_publishes_and_watches(cloud: Cloud) -> None:
    cloud.things(THING)
    folder(cloud)
    takes(cloud, *GOOD)
    shown = cloud.fleet("push", "app", THING, "--no-agent").stdout
    assert f"{THING}  receiving 20 %" in shown
    assert f"{THING}  self-test ready" in shown
    assert f"accepted: {THING} runs dev-2, sequence 2" in shown
    (made,) = [values for _, name, values in cloud.asked if name == "CreateJob"]
    (stream,) = [values for _, name, values in cloud.asked if name == "CreateStream"]
    place = stream["files"][0]["s3Location"]
    assert (place["bucket"], stream["roleArn"]) == (BUCKET, ROLE)
    assert json.loads(made["document"])["afr_ota"]["streamname"] == stream["streamId"]
    assert made["targets"] == [f"arn:aws:iot:{REGION}:123456789012:thing/{THING}"]
    assert cloud.addresses == {
        "iot": f"https://iot.{REGION}.amazonaws.com",
        "iot-data": f"https://{DATA}",
        "s3": f"https://s3.{REGION}.amazonaws.com",
    }


def test_a_push_that_is_rolled_back_says_why(cloud: Cloud) -> None:
    cloud.things(THING)
    folder(cloud)
    takes(cloud, ("FAILED", {"reason": "self_test", "detail": "no sensor"}))
    shown = cloud.fleet("push", "app", THING, "--no-agent", code=1).stdout
    assert f"not accepted: {THING} says FAILED: self_test: no sensor" in shown


def test_the_second_push_is_compared_with_what_the_board_took(cloud: Cloud) -> None:
    cloud.things(THING)
    folder(cloud)
    takes(cloud, *GOOD)
    cloud.fleet("push", "app", THING, "--no-agent")
    folder(cloud, "print('off')\n")
    takes(cloud, ("SUCCEEDED", {}))
    shown = cloud.fleet("push", "app", THING, "--no-agent").stdout
    assert "against dev-2, which the board has accepted" in shown
    assert "main.py, changed" in shown
    assert "sequence 3" in shown


def test_by_http_boards_get_urls_that_the_role_signs(cloud: Cloud) -> None:
    cloud.things(THING)
    cloud.fleet("publish", str(package(cloud)), THING, "--protocol", "http", "--job", "j")
    (made,) = [values for _, name, values in cloud.asked if name == "CreateJob"]
    assert made["presignedUrlConfig"] == {"roleArn": ROLE}
    assert f"s3.{REGION}.amazonaws.com/{BUCKET}/" in made["document"]
    assert "CreateStream" not in cloud.operations


def test_a_board_that_nobody_knows_is_refused_before_anything_is_changed(cloud: Cloud) -> None:
    done = cloud.fleet("publish", str(package(cloud)), "board-9", code=1)
    assert "knows no board board-9" in done.stderr
    assert {name for name in cloud.operations if name.startswith(("Create", "Put"))} == set()


def test_more_boards_than_aws_takes_in_a_job_are_refused_before_anything_is_changed(
    cloud: Cloud,
) -> None:
    boards = [f"board-{number}" for number in range(101)]
    with pytest.raises(PublishError, match="AWS takes 100 boards in one job, and these are 101"):
        publishing.publish(cloud.account(), package(cloud).read_bytes(), "x.ota", boards)
    shown = cloud.fleet("publish", str(package(cloud)), *boards, code=1).stderr
    assert "these are 101" in shown
    assert cloud.asked == []


def test_a_job_that_aws_refuses_leaves_no_stream(cloud: Cloud) -> None:
    cloud.things(THING)
    client = cloud.account().iot
    cloud.refuse["CreateJob"] = refusal(client, "LimitExceededException")
    done = cloud.fleet("publish", str(package(cloud)), THING, code=1)
    assert "LimitExceededException" in done.stderr
    assert cloud.streams == {}


# -- status, watch, cancel ------------------------------------------------------------------------


def test_status_shows_reports_and_the_newest_update_of_each_board(cloud: Cloud) -> None:
    cloud.things(THING, "board-2")
    cloud.report(THING, version="1.0.0", sequence=3)
    for sequence in (4, 5):
        cloud.fleet(
            "publish",
            str(package(cloud, sequence)),
            THING,
            "--job",
            f"j{sequence}",
            "--without-keys",
        )
    cloud.say("j5", THING, "FAILED", cause="crash")
    shown = cloud.fleet("status").stdout.splitlines()
    assert shown[1].split()[:3] == [THING, "1.0.0", "(3)"]
    assert "j5" in shown[1] and "FAILED" in shown[1]
    assert shown[2].split()[:2] == ["board-2", "-"]
    found = json.loads(cloud.fleet("status", THING, "--json").stdout)
    assert [update["job"] for update in found[THING]["updates"]] == ["j5", "j4"]
    assert found[THING]["updates"][1]["description"] == "demo-board 1.1.0, sequence 4"
    assert list(found) == [THING]


def test_status_of_one_board_asks_about_no_other(cloud: Cloud) -> None:
    cloud.things(*(f"board-{number}" for number in range(5)))
    cloud.fleet("status", THING)
    asked = {values["thingName"] for _, _, values in cloud.asked if "thingName" in values}
    assert asked == {THING}
    assert "knows no board board-9" in cloud.fleet("status", "board-9", code=1).stderr


def test_a_job_is_watched_by_what_the_board_says(cloud: Cloud) -> None:
    cloud.things(THING)
    cloud.fleet("publish", str(package(cloud)), THING, "--job", "j")
    takes(cloud, ("IN_PROGRESS", {"receive": "30/40"}), ("TIMED_OUT", {}))
    shown = cloud.fleet("watch", "j", code=1).stdout.splitlines()
    assert shown == [f"{THING}  receiving 70 %", f"{THING}  TIMED_OUT"]


def test_a_job_is_cancelled_on_all_boards_or_on_one(cloud: Cloud) -> None:
    cloud.things(THING, "board-2")
    cloud.fleet("publish", str(package(cloud)), THING, "board-2", "--job", "j")
    cloud.fleet("cancel", "j", "--thing", THING, "--force")
    cloud.fleet("cancel", "j")
    last = cloud.asked[-2:]
    assert last == [
        ("iot", "CancelJobExecution", {"jobId": "j", "thingName": THING, "force": True}),
        ("iot", "CancelJob", {"jobId": "j", "force": False}),
    ]


# -- sequences ------------------------------------------------------------------------------------


def test_the_counter_in_the_bucket_gives_each_sequence_once(cloud: Cloud) -> None:
    found: list[int] = []

    def take() -> None:
        account = cloud.account()
        found.extend(account.allot("demo-board", 0) for _ in range(5))

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 16))


def test_the_counter_goes_on_above_what_was_published_and_what_the_folder_knows(
    cloud: Cloud,
) -> None:
    cloud.things(THING)
    cloud.fleet("publish", str(package(cloud, 40)), THING)
    account = cloud.account()
    assert account.allot("demo-board", 0) == 41
    assert account.allot("demo-board", 99) == 100
    account.count("demo-board", 7)
    assert account.allot("demo-board", 0) == 101
    assert account.allot("another/../product", 0) == 1


def test_pack_takes_its_sequence_from_the_counter(cloud: Cloud) -> None:
    folder(cloud)
    cloud.account().count("demo-board", 11)
    cloud.fleet("pack", "--app", "app", "--no-agent", "--version", "2", "-o", "x.ota")
    assert package_format.inspect(Path("x.ota").read_bytes()).manifest.sequence == 12


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"sequence": "7"}', b'{"sequence": -1}'])
def test_a_damaged_counter_is_named(cloud: Cloud, body: bytes) -> None:
    account = cloud.account()
    account.s3.put_object(Bucket=BUCKET, Key="sequences/demo-board.json", Body=body)
    with pytest.raises(SequenceError, match=r"sequences/demo-board\.json is damaged"):
        account.allot("demo-board", 0)


def test_a_refused_counter_is_told_and_one_that_others_change_is_tried_again(cloud: Cloud) -> None:
    account = cloud.account()
    cloud.refuse["PutObject"] = refusal(account.s3, "AccessDenied")
    folder(cloud)
    assert "AccessDenied" in cloud.fleet("push", "app", THING, "--no-agent", code=1).stderr
    cloud.refuse["PutObject"] = refusal(account.s3, "PreconditionFailed")
    with pytest.raises(SequenceError, match="try again"):
        account.allot("demo-board", 0)


# -- provision and revoke -------------------------------------------------------------------------


def test_a_provisioned_board_has_all_that_it_needs_and_its_own_topics_alone(cloud: Cloud) -> None:
    shown = cloud.fleet("provision", THING, "--wifi-ssid", "home").stdout
    assert "its certificate has the policy fleet-boards" in shown
    board = cloud.folder / "boards" / THING
    settings = json.loads((board / "settings.json").read_text())
    assert settings["broker"] == {"host": DATA, "port": 8883, "tls": True}
    assert (settings["thing"], settings["ntp"]) == (THING, "time.aws.com")
    roots = x509.load_pem_x509_certificates((board / "ca.pem").read_bytes())
    assert [certificates.name_of(root) for root in roots] == [
        "Amazon Root CA 1",
        "Amazon Root CA 3",
    ]
    assert list(cloud.certificates(THING).values()) == ["ACTIVE"]
    (made,) = [values for _, name, values in cloud.asked if name == "CreateCertificateFromCsr"]
    key = serialization.load_pem_private_key((board / "client.key").read_bytes(), None)
    request = made["certificateSigningRequest"].encode()
    assert certificates.requested_key(request, THING) == key.public_key()
    (made,) = [values for _, name, values in cloud.asked if name == "CreatePolicy"]
    assert json.loads(made["policyDocument"]) == policy.document()
    with cloud.by_hand() as iot:
        (arn,) = cloud.certificates(THING)
        attached = iot.list_attached_policies(target=arn)["policies"]
    assert [one["policyName"] for one in attached] == ["fleet-boards"]


def test_a_domain_of_ones_own_takes_the_place_of_the_accounts_address(cloud: Cloud) -> None:
    cloud.fleet("provision", THING, "--host", "iot.example.com")
    settings = json.loads((cloud.folder / "boards" / THING / "settings.json").read_text())
    assert settings["broker"] == {"host": "iot.example.com", "port": 8883, "tls": True}


def test_an_account_that_does_not_answer_is_told_from_a_service_that_does_not_run(
    cloud: Cloud,
) -> None:
    cloud.refuse["ListThings"] = EndpointConnectionError(endpoint_url="https://iot.example.com")
    shown = cloud.fleet("status", code=4).stderr
    assert "https://iot.example.com" in shown and "is AWS out of reach?" in shown


def test_no_private_key_is_sent_to_aws(cloud: Cloud) -> None:
    cloud.fleet("provision", THING)
    secret = (cloud.folder / "boards" / THING / "client.key").read_text().splitlines()[1]
    assert all(secret not in repr(values) for _, _, values in cloud.asked)
    assert "PRIVATE KEY" not in repr(cloud.asked)


@pytest.mark.parametrize("encoding", [serialization.Encoding.PEM, serialization.Encoding.DER])
def test_a_board_that_made_its_key_itself_gets_a_certificate_for_it(
    cloud: Cloud, encoding: serialization.Encoding
) -> None:
    pem = certificates.request(keys.generate(), THING)
    path = cloud.folder / "board.csr"
    path.write_bytes(x509.load_pem_x509_csr(pem).public_bytes(encoding))
    cloud.fleet("provision", THING, "--csr", str(path))
    (made,) = [values for _, name, values in cloud.asked if name == "CreateCertificateFromCsr"]
    assert made["certificateSigningRequest"] == pem.decode()
    assert not (cloud.folder / "boards" / THING / "client.key").exists()


def test_a_board_is_provisioned_once_and_renewed_on_demand(cloud: Cloud) -> None:
    cloud.fleet("provision", THING, "--wifi-ssid", "home")
    (before,) = cloud.certificates(THING)
    asked = len(cloud.asked)
    assert "--renew" in cloud.fleet("provision", THING, code=1).stderr
    assert not any("Create" in name or "Attach" in name for name in cloud.operations[asked:])
    path = cloud.folder / "boards" / THING / "settings.json"
    path.write_text(path.read_text().replace("time.aws.com", "ntp.local"))
    cloud.fleet("provision", THING, "--renew")
    ((after, state),) = cloud.certificates(THING).items()
    assert after != before and state == "ACTIVE"
    settings = json.loads(path.read_text())
    assert (settings["ntp"], settings["wifi"]["ssid"]) == ("ntp.local", "home")
    with cloud.by_hand() as iot:
        found = iot.describe_certificate(certificateId=before.rpartition("/")[2])
    assert found["certificateDescription"]["status"] == "REVOKED"


def test_the_policy_of_the_operator_stays_as_it_is(cloud: Cloud) -> None:
    cloud.toml.write_text(cloud.toml.read_text() + 'policy = "ours"\n')
    with cloud.by_hand() as iot:
        iot.create_policy(policyName="ours", policyDocument="{}")
    cloud.fleet("provision", THING)
    with cloud.by_hand() as iot:
        assert iot.get_policy(policyName="ours")["policyDocument"] == "{}"


@pytest.mark.parametrize("operation", ["AttachPolicy", "AttachThingPrincipal"])
def test_what_fails_half_way_is_taken_back(cloud: Cloud, operation: str) -> None:
    cloud.refuse[operation] = refusal(cloud.account().iot, "ThrottlingException")
    assert "ThrottlingException" in cloud.fleet("provision", THING, code=1).stderr
    assert not (cloud.folder / "boards" / THING).exists()
    with cloud.by_hand() as iot:
        assert iot.list_certificates()["certificates"] == []


def test_a_disk_that_is_full_leaves_no_certificate(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("twinslot.disk.move_all", full)
    assert "No space left" in cloud.fleet("provision", THING, code=1).stderr
    with cloud.by_hand() as iot:
        assert iot.list_certificates()["certificates"] == []


def test_a_certificate_that_things_share_is_named_and_left_alone(cloud: Cloud) -> None:
    cloud.fleet("provision", THING)
    (arn,) = cloud.certificates(THING)
    cloud.things("board-2")
    with cloud.by_hand() as iot:
        iot.attach_thing_principal(thingName="board-2", principal=arn)
    for command in (("provision", THING, "--renew"), ("revoke", THING)):
        assert "shares the certificate" in cloud.fleet(*command, code=1).stderr
    assert cloud.certificates(THING) == {arn: "ACTIVE"}


def test_a_revoked_board_is_refused_and_can_be_taken_in_again(cloud: Cloud) -> None:
    cloud.fleet("provision", THING)
    assert "--disconnect" in cloud.fleet("revoke", THING).stdout
    assert list(cloud.certificates(THING).values()) == ["REVOKED"]
    cloud.connected.add(THING)
    assert "its connection is cut" in cloud.fleet("revoke", THING, "--disconnect").stdout
    assert cloud.connected == set()
    assert "it has no connection" in cloud.fleet("revoke", THING, "--disconnect").stdout
    cloud.fleet("provision", THING, "--renew")
    assert list(cloud.certificates(THING).values()) == ["ACTIVE"]


def test_a_board_without_a_certificate_cannot_be_revoked(cloud: Cloud) -> None:
    cloud.things("bare")
    for thing in ("bare", "nobody"):
        assert f"no certificate of {thing}" in cloud.fleet("revoke", thing, code=1).stderr


# -- fleet.toml and the machine -------------------------------------------------------------------


def test_without_to_aws_the_table_changes_nothing(cloud: Cloud) -> None:
    assert config.load(cloud.toml).account is None
    assert cloud.config.account == Account(REGION, BUCKET, ROLE)


def test_without_the_table_to_aws_is_refused(cloud: Cloud) -> None:
    cloud.toml.write_text(cloud.toml.read_text().partition("[aws]")[0])
    assert "has no table [aws]" in cloud.fleet("status", code=3).stderr


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('region = "Frankfurt"', "aws.region: 'Frankfurt' is not a region"),
        ('bucket = "My_Bucket"', "aws.bucket: 'My_Bucket' is not the name of a bucket"),
        ('role = "fleet"', "aws.role: 'fleet' is not the ARN of a role"),
        ('policy = "a b"', "aws.policy: 'a b' is not the name of a policy"),
        ('profil = "x"', "aws.profil: no such setting"),
        ("profile = 7", "aws.profile: 7 is not text"),
    ],
)
def test_a_wrong_value_is_named_whether_or_not_it_is_needed(
    cloud: Cloud, line: str, words: str
) -> None:
    name = line.partition(" ")[0]
    kept = [
        text for text in cloud.toml.read_text().splitlines() if not text.startswith(f"{name} =")
    ]
    head = "\n".join(kept).partition("[aws]")[0]
    table = "\n".join(kept).partition("[aws]")[2]
    if name == "region":  # [service] has one, too
        head = cloud.toml.read_text().partition("[aws]")[0]
    cloud.toml.write_text(f"{head}[aws]{table}\n{line}\n")
    for to_aws in (True, False):
        with pytest.raises(ConfigError) as error:
            config.load(cloud.toml, to_aws=to_aws)
        assert words in str(error.value)


def test_a_profile_and_keys_that_are_missing_are_told_with_the_remedy(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(cloud.folder / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(cloud.folder / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with monkeypatch.context() as without:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            without.delenv(name, raising=False)
        assert "no key of AWS is found" in cloud.fleet("status", code=3).stderr
    cloud.toml.write_text(cloud.toml.read_text() + 'profile = "lab"\n')
    assert "no profile 'lab'" in cloud.fleet("status", code=3).stderr


def test_keys_come_from_the_profile_that_the_table_names(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cloud.folder / "aws").write_text(
        "[lab]\naws_access_key_id = LAB\naws_secret_access_key = secret\n"
    )
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(cloud.folder / "aws"))
    cloud.toml.write_text(cloud.toml.read_text() + 'profile = "lab"\n')
    account = cloud.account()
    assert account._session.get_credentials().access_key == "LAB"
    assert account.iot.list_things()["things"] == []


def test_with_an_endpoint_all_services_are_there(cloud: Cloud) -> None:
    cloud.toml.write_text(cloud.toml.read_text() + 'endpoint = "http://127.0.0.1:9"\n')
    account = cloud.account()
    found = (account.iot, account.s3, account.data, account.client("iot-jobs-data"))
    assert {client.meta.endpoint_url for client in found} == {"http://127.0.0.1:9"}
    assert cloud.asked == []


def test_the_jobs_of_an_account_have_an_address_of_their_own(cloud: Cloud) -> None:
    cloud.account().client("iot-jobs-data")
    assert cloud.asked == [("iot", "DescribeEndpoint", {"endpointType": "iot:Jobs"})]


LOCAL = sorted(
    set(fleet_command.list_commands(None))  # type: ignore[arg-type]
    - {"status", "watch", "cancel", "keys", "pack", "publish", "push", "provision", "revoke"}
)


@pytest.mark.parametrize("command", LOCAL)
def test_a_command_that_does_nothing_at_aws_says_so_by_name(cloud: Cloud, command: str) -> None:
    done = cloud.fleet(command, code=2)
    assert f"{command} does nothing at AWS" in " ".join(done.stderr.split())
    assert cloud.asked == []


# -- docs/aws.md ----------------------------------------------------------------------------------

PAGE = (ROOT / "docs/aws.md").read_text(encoding="utf-8")
TRUST, ROLE_POLICY, OPERATOR, BOARDS = map(json.loads, code(PAGE, "json"))
BEYOND = {
    "GetObject": {"s3:GetObject", "s3:ListBucket"},  # S3 tells of a missing object by the latter
    "CreateStream": {"iot:CreateStream", "iam:PassRole"},
    "CreateJob": {"iot:CreateJob", "iam:PassRole"},
}


def actions_of(policy_document: Any, *leave_out: str) -> set[str]:
    """The actions that a policy allows. leave_out: statements, by Sid."""
    found: set[str] = set()
    for statement in policy_document["Statement"]:
        assert statement["Effect"] == "Allow"
        if statement.get("Sid") not in leave_out:
            actions = statement["Action"]
            found |= {actions} if isinstance(actions, str) else set(actions)
    return found


def needed(cloud: Cloud) -> set[str]:
    """The actions that the requests so far need: their name is the operation's."""
    found: set[str] = set()
    for service, operation, _ in cloud.asked:
        prefix = "s3" if service == "s3" else "iot"
        found |= BEYOND.get(operation, {f"{prefix}:{operation}"})
    return found


def send_updates(cloud: Cloud) -> None:
    """Run every command that sends updates, in the ways that ask AWS for different things."""
    folder(cloud)
    cloud.fleet("publish", str(package(cloud)), THING, "--create-things", "--protocol", "both")
    takes(cloud, *GOOD)
    cloud.fleet("push", "app", THING, "--no-agent")
    takes(cloud, *GOOD)
    cloud.fleet("push", "app", THING, "--no-agent")  # looks for what the board took
    cloud.fleet("pack", "--app", "app", "--no-agent", "--version", "2", "-o", "x.ota")
    cloud.refuse["CreateJob"] = refusal(cloud.account().iot, "LimitExceededException")
    cloud.fleet("publish", "x.ota", THING, code=1)
    del cloud.refuse["CreateJob"]
    cloud.fleet("publish", "x.ota", THING, "--job", "j")
    takes(cloud, *GOOD)
    cloud.fleet("watch", "j")
    cloud.fleet("status")
    cloud.fleet("status", THING)
    cloud.fleet("keys", "send", THING)
    cloud.fleet("cancel", "j", "--force")
    cloud.fleet("cancel", "j", "--force", "--thing", THING)


def make_identities(cloud: Cloud) -> None:
    """Run every command about identities, also one that fails half-way."""
    cloud.fleet("provision", THING)
    cloud.fleet("provision", THING, "--renew")
    cloud.refuse["AttachThingPrincipal"] = refusal(cloud.account().iot, "ThrottlingException")
    cloud.fleet("provision", "board-2", code=1)
    del cloud.refuse["AttachThingPrincipal"]
    cloud.fleet("revoke", THING, "--disconnect")


def test_the_operators_policy_allows_what_the_commands_ask_for_and_nothing_else(
    cloud: Cloud,
) -> None:
    send_updates(cloud)
    assert needed(cloud) == actions_of(OPERATOR, "Identities")
    make_identities(cloud)
    assert needed(cloud) == actions_of(OPERATOR)


def test_every_action_of_a_policy_is_an_operation_of_the_models(cloud: Cloud) -> None:
    account = cloud.account()
    services = {"iot": (account.iot, account.data), "s3": (account.s3,)}
    for action in actions_of(OPERATOR) - {"s3:ListBucket", "iam:PassRole"}:
        prefix, _, operation = action.partition(":")
        models = [client.meta.service_model for client in services[prefix]]
        assert any(operation in model.operation_names for model in models), action


def test_what_moto_has_not_is_what_the_page_says(cloud: Cloud) -> None:
    assert set(cloud.made_up) == {"DescribeEndpoint", *NOT_IN_MOTO}
    row = next(line for line in PAGE.splitlines() if "moto has none of them" in line)
    assert set(row.split("|")[1].replace(",", " ").split()) == NOT_IN_MOTO


def test_the_pages_policies_fit_each_other_and_the_table(cloud: Cloud) -> None:
    assert policy.document() == BOARDS
    assert TRUST["Statement"][0]["Principal"] == {"Service": "iot.amazonaws.com"}
    (reads,) = ROLE_POLICY["Statement"]
    bucket, _, pattern = reads["Resource"].removeprefix("arn:aws:s3:::").partition("/")
    assert (bucket, reads["Action"]) == (BUCKET, "s3:GetObject")
    cloud.things(THING)
    cloud.fleet("publish", str(package(cloud)), THING, "--job", "j")
    key = cloud.streams["j"]["files"][0]["s3Location"]["key"]
    assert fnmatch.fnmatchcase(key, pattern)
    (passed,) = [one for one in OPERATOR["Statement"] if one["Action"] == "iam:PassRole"]
    (table,) = code(PAGE, "toml")
    head = cloud.toml.read_text().partition("[aws]")[0]
    found = config.parse(head + table, cloud.folder, to_aws=True).account
    assert found is not None
    assert found.role == passed["Resource"] == ROLE


def test_the_page_names_every_setting_of_the_table_with_its_default() -> None:
    named = {row[0].strip("`"): row[1].strip("`") for row in rows(PAGE, "setting")}
    assert set(named) == {field.name for field in dataclasses.fields(Account)}
    for field in dataclasses.fields(Account):
        if field.default is dataclasses.MISSING:
            assert named[field.name] == "needed"
        elif field.default:
            assert named[field.name] == field.default


def test_the_page_adds_up() -> None:
    table = rows(PAGE, "for 1,000 updates")
    costs = []
    for _, units, price, dollars in table[:-1]:
        match = re.fullmatch(r"([\d.]+) for ([\d,]+)", price)
        assert match is not None
        per = float(match[1]) / int(match[2].replace(",", ""))
        costs.append(int(units.replace(",", "")) * per)
        assert float(dollars) == pytest.approx(costs[-1], rel=0.25)
    assert float(table[-1][3]) == pytest.approx(sum(costs), abs=0.01)


# -- what judges the requests ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "values"),
    [
        ("CreateThing", {}),
        ("CreateThing", {"thingName": "a b"}),
        ("CreateThing", {"thingName": "a" * 129}),
        ("CreateThing", {"thingName": "a", "colour": "red"}),
        ("CreateJob", {"jobId": "a", "targets": []}),
        ("CreateJob", {"jobId": "a", "targets": ["x"], "description": "a\nb"}),
        ("CreateJob", {"jobId": "a", "targets": ["x"], "targetSelection": "SOME"}),
        ("UpdateCertificate", {"certificateId": "a" * 64, "newStatus": "GONE"}),
        ("CreateStream", {"streamId": "a", "files": [], "roleArn": ROLE}),
        ("CreateStream", {"streamId": "a", "files": [{"fileId": 256}], "roleArn": ROLE}),
    ],
)
def test_a_request_that_the_models_do_not_allow_fails_the_test(
    cloud: Cloud, operation: str, values: dict[str, Any]
) -> None:
    model = cloud.account().iot.meta.service_model.operation_model(operation)
    with pytest.raises(AssertionError):
        judge(model.input_shape, values)
