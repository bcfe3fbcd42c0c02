"""Certificates and policies through boto3, and what the broker's lists come to.

`test_fleet_certificates_broker.py` shows what a real mosquitto makes of them.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from fleet_site import Site, moment, plain, refused
from local_ca import LocalCA

from twinslot import gate
from twinslot.client import broker
from twinslot.service.operations import policies
from twinslot.trust import certificates, keys
from twinslot.trust.authority import Authority

ARN = "arn:aws:iot:local:000000000000:"
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": ["*"]}],
    }
)


@pytest.fixture
def bare(tmp_path: Path, database: str) -> Iterator[Site]:
    """A fleet without an authority."""
    made = Site(tmp_path, database=database)
    yield made
    made.close()


@pytest.fixture
def site(bare: Site) -> Site:
    """A fleet with an authority."""
    bare.found_authority()
    return bare


@pytest.fixture
def iot(site: Site) -> Any:
    return site.clients.iot


def on_list(site: Site, pem: str) -> bool:
    """Whether the authority's list, and the broker's copy of it, name a certificate."""
    number = x509.load_pem_x509_certificate(pem.encode()).serial_number
    found = [
        x509.load_pem_x509_crl(path.read_bytes()).get_revoked_certificate_by_serial_number(number)
        for path in (site.config.authority / "crl.pem", site.config.broker_folder / "crl.pem")
    ]
    assert (found[0] is None) == (found[1] is None)
    return found[0] is not None


def acl(site: Site) -> list[str]:
    return (site.config.broker_folder / "acl").read_text().splitlines()


def request(name: str, curve: ec.EllipticCurve | None = None) -> tuple[Any, str]:
    """A private key, and its signing request."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    return key, made.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.compatibility("11", "CreateKeysAndCertificate, DescribeCertificate, ListCertificates")
def test_a_certificate_is_of_the_fleets_own_authority(site: Site, iot: Any) -> None:
    made = iot.create_keys_and_certificate(setAsActive=True)
    found = x509.load_pem_x509_certificate(made["certificatePem"].encode())
    authority = Authority(site.config.authority)
    assert certificates.issued_by(found, authority.certificate)
    private = serialization.load_pem_private_key(made["keyPair"]["PrivateKey"].encode(), None)
    assert isinstance(private, ec.EllipticCurvePrivateKey)
    assert private.public_key() == found.public_key()
    assert keys.public_pem(private.public_key()).decode() == made["keyPair"]["PublicKey"]
    identity = found.fingerprint(hashes.SHA256()).hex()
    assert made["certificateId"] == identity
    assert made["certificateArn"] == f"{ARN}cert/{identity}"
    described = iot.describe_certificate(certificateId=identity)["certificateDescription"]
    assert described == {
        "certificateArn": made["certificateArn"],
        "certificateId": identity,
        "status": "ACTIVE",
        "certificatePem": made["certificatePem"],
        "certificateMode": "DEFAULT",
        "ownedBy": "000000000000",
        "creationDate": moment(site),
        "lastModifiedDate": moment(site),
        "customerVersion": 1,
        "validity": {
            "notBefore": datetime(2000, 1, 1, tzinfo=UTC),
            "notAfter": datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC),
        },
    }
    others = [iot.create_keys_and_certificate()["certificateId"] for _ in range(2)]
    listed = iot.list_certificates(pageSize=2)
    assert [one["certificateId"] for one in listed["certificates"]] == others[::-1]
    rest = iot.list_certificates(marker=listed["nextMarker"])["certificates"]
    assert [(one["certificateId"], one["status"]) for one in rest] == [(identity, "ACTIVE")]
    ascending = iot.list_certificates(ascendingOrder=True, pageSize=1)
    assert ascending["certificates"][0]["certificateId"] == identity
    behind = iot.list_certificates(ascendingOrder=True, marker=ascending["nextMarker"])
    assert [one["certificateId"] for one in behind["certificates"]] == others


@pytest.mark.compatibility("11", "CreateCertificateFromCsr: the key is the request's")
def test_a_certificate_from_a_request_is_for_its_key(site: Site, iot: Any) -> None:
    key, asked = request("any name")
    made = iot.create_certificate_from_csr(certificateSigningRequest=asked, setAsActive=True)
    found = x509.load_pem_x509_certificate(made["certificatePem"].encode())
    assert found.public_key() == key.public_key()
    assert "any name" not in found.subject.rfc4514_string()
    for wrong in ("nothing", request("x", ec.SECP384R1())[1]):
        with pytest.raises(ClientError, match="certificateSigningRequest") as error:
            iot.create_certificate_from_csr(certificateSigningRequest=wrong)
        assert refused(error) == ("InvalidRequestException", 400)
    assert len(iot.list_certificates()["certificates"]) == 1


@pytest.mark.compatibility(
    "11", "INACTIVE and REVOKED certificates stand on the revocation list; ACTIVE lifts INACTIVE"
)
def test_what_is_not_active_stands_on_the_brokers_list(site: Site, iot: Any) -> None:
    made = iot.create_keys_and_certificate()
    pem, identity = made["certificatePem"], made["certificateId"]
    assert on_list(site, pem), "INACTIVE, because setAsActive was not said"
    for status, expected in (("ACTIVE", False), ("INACTIVE", True), ("ACTIVE", False)):
        iot.update_certificate(certificateId=identity, newStatus=status)
        assert on_list(site, pem) == expected
    iot.update_certificate(certificateId=identity, newStatus="REVOKED")
    for status in ("ACTIVE", "INACTIVE"):
        with pytest.raises(ClientError, match="for ever") as error:
            iot.update_certificate(certificateId=identity, newStatus=status)
        assert refused(error) == ("CertificateStateException", 406)
    assert on_list(site, pem)
    found = iot.describe_certificate(certificateId=identity)["certificateDescription"]
    assert (found["status"], found["customerVersion"]) == ("REVOKED", 5)
    iot.delete_certificate(certificateId=identity)
    assert on_list(site, pem), "what was deleted is not let in again"
    for status in ("PENDING_TRANSFER", "REGISTER_INACTIVE", "PENDING_ACTIVATION"):
        with pytest.raises(ClientError) as error:
            iot.update_certificate(certificateId="0" * 64, newStatus=status)
        assert refused(error) == ("InvalidRequestException", 400)


@pytest.mark.compatibility(
    "11", "Attach- and DetachThingPrincipal, ListThingPrincipals, ListPrincipalThings"
)
def test_a_certificate_speaks_for_the_things_that_it_is_attached_to(site: Site, iot: Any) -> None:
    for name in ("b1", "b2"):
        iot.create_thing(thingName=name)
    made = iot.create_keys_and_certificate(setAsActive=True)
    arn = made["certificateArn"]
    name = certificates.name_of(x509.load_pem_x509_certificate(made["certificatePem"].encode()))
    before = acl(site)
    assert f"user {name}" not in before
    for thing in ("b2", "b1", "b1"):
        iot.attach_thing_principal(thingName=thing, principal=arn)
    lines = acl(site)
    own = lines[lines.index(f"user {name}") + 1 : lines.index("# The end of these.")]
    assert {line.split("/")[2] for line in own} == {"b1", "b2"}
    assert "topic write $aws/things/b1/jobs/+/update" in own
    assert "topic read $aws/things/b1/jobs/notify-next" in own
    rest = [
        *lines[: lines.index(f"user {name}") - 1],
        *lines[lines.index("# The end of these.") + 2 :],
    ]
    assert rest == before
    assert iot.list_thing_principals(thingName="b1")["principals"] == [arn]
    page = iot.list_principal_things(principal=arn, maxResults=1)
    rest = iot.list_principal_things(principal=arn, nextToken=page["nextToken"])
    assert (page["things"], rest["things"]) == (["b1"], ["b2"])
    iot.update_certificate(certificateId=made["certificateId"], newStatus="INACTIVE")
    assert acl(site) == before
    iot.update_certificate(certificateId=made["certificateId"], newStatus="ACTIVE")
    assert acl(site) == lines
    with pytest.raises(ClientError, match="has certificates") as error:
        iot.delete_thing(thingName="b1")
    assert refused(error) == ("InvalidRequestException", 400)
    for thing in ("b1", "b2", "b2"):
        iot.detach_thing_principal(thingName=thing, principal=arn)
    assert acl(site) == before
    iot.delete_thing(thingName="b1")


def test_lines_that_a_person_added_stay_through_broker_config_and_attachments(
    site: Site, iot: Any
) -> None:
    path = site.config.broker_folder / "acl"
    iot.create_thing(thingName="b1")
    made = iot.create_keys_and_certificate(setAsActive=True)
    iot.attach_thing_principal(thingName="b1", principal=made["certificateArn"])
    path.write_text(path.read_text() + "pattern write meters/%u/#\n")
    iot.create_thing(thingName="b2")
    iot.attach_thing_principal(thingName="b2", principal=made["certificateArn"])
    assert "pattern write meters/%u/#" in acl(site)
    registered = gate.registered_lines(path.read_text())
    assert len(registered) > 40
    wanted = broker.Wanted(["127.0.0.1"], "", 8883, 8884, broker.default_user())
    broker.configure(site.config.broker_folder, Authority(site.config.authority), wanted)
    assert gate.registered_lines(path.read_text()) == registered


@pytest.mark.compatibility(
    "11", "DeleteCertificate: not ACTIVE, not attached; with `forceDelete` also with policies"
)
def test_a_certificate_in_use_is_not_deleted(site: Site, iot: Any) -> None:
    iot.create_thing(thingName="b1")
    made = iot.create_keys_and_certificate(setAsActive=True)
    identity, arn = made["certificateId"], made["certificateArn"]
    iot.attach_thing_principal(thingName="b1", principal=arn)
    iot.create_policy(policyName="p", policyDocument=POLICY)
    iot.attach_policy(policyName="p", target=arn)
    for force in (False, True):
        with pytest.raises(ClientError) as error:
            iot.delete_certificate(certificateId=identity, forceDelete=force)
        assert refused(error) == ("CertificateStateException", 406)
    iot.update_certificate(certificateId=identity, newStatus="INACTIVE")
    with pytest.raises(ClientError, match="speaks for b1") as error:
        iot.delete_certificate(certificateId=identity, forceDelete=True)
    assert refused(error) == ("DeleteConflictException", 409)
    iot.detach_thing_principal(thingName="b1", principal=arn)
    with pytest.raises(ClientError, match="forceDelete") as error:
        iot.delete_certificate(certificateId=identity)
    assert refused(error) == ("DeleteConflictException", 409)
    iot.delete_certificate(certificateId=identity, forceDelete=True)
    with pytest.raises(ClientError) as error:
        iot.describe_certificate(certificateId=identity)
    assert refused(error) == ("ResourceNotFoundException", 404)
    iot.delete_policy(policyName="p")


@pytest.mark.compatibility(
    "11",
    "RegisterCertificateWithoutCA takes the fleet's own certificates",
    unlike="any certificate is registered",
    because="the fleet's broker trusts its own authority alone: another one could never log in",
)
def test_only_certificates_of_the_fleet_are_registered(
    site: Site, iot: Any, tmp_path: Path
) -> None:
    authority = Authority(site.config.authority)
    own = authority.issue("b1", keys.generate().public_key())
    pem = certificates.pem(own).decode()
    made = iot.register_certificate_without_ca(certificatePem=pem, status="ACTIVE")
    iot.create_thing(thingName="b1")
    iot.create_thing(thingName="b2")
    iot.attach_thing_principal(thingName="b1", principal=made["certificateArn"])
    assert "user b1" not in acl(site), "the pattern of its name is enough"
    with pytest.raises(ClientError, match="bears the name b1"):
        iot.attach_thing_principal(thingName="b2", principal=made["certificateArn"])
    with pytest.raises(ClientError, match="speaks for it as long as it is ACTIVE"):
        iot.detach_thing_principal(thingName="b1", principal=made["certificateArn"])
    with pytest.raises(ClientError) as error:
        iot.register_certificate_without_ca(certificatePem=pem)
    assert refused(error) == ("ResourceAlreadyExistsException", 409)
    iot.update_certificate(certificateId=made["certificateId"], newStatus="INACTIVE")
    assert authority.is_revoked(own)
    stranger = LocalCA(tmp_path / "other").issue("b3")[0].read_text()
    service = certificates.pem(authority.issue(certificates.SERVICE, keys.generate().public_key()))
    server = certificates.pem(authority.issue_server(["a.test"], keys.generate().public_key()))
    for wrong in (stranger, "nothing", service.decode(), server.decode()):
        with pytest.raises(ClientError) as error:
            iot.register_certificate_without_ca(certificatePem=wrong)
        assert refused(error) == ("CertificateValidationException", 400)
    revoked = certificates.pem(authority.issue("b4", keys.generate().public_key())).decode()
    authority.revoke("b4")
    with pytest.raises(ClientError) as error:
        iot.register_certificate_without_ca(certificatePem=revoked)
    assert refused(error) == ("CertificateStateException", 406)


def test_a_revoked_thing_loses_all_certificates_that_speak_for_it(site: Site, iot: Any) -> None:
    for name in ("b1", "b2"):
        iot.create_thing(thingName=name)
    made = [iot.create_keys_and_certificate(setAsActive=True) for _ in range(2)]
    for thing, one in zip(("b1", "b2"), made, strict=True):
        iot.attach_thing_principal(thingName=thing, principal=one["certificateArn"])
    site.clients.revoke("b1")
    assert [on_list(site, one["certificatePem"]) for one in made] == [True, False]
    states = [
        iot.describe_certificate(certificateId=one["certificateId"])["certificateDescription"]
        for one in made
    ]
    assert [found["status"] for found in states] == ["REVOKED", "ACTIVE"]


def test_a_fleet_without_an_authority_says_so(bare: Site) -> None:
    iot = bare.clients.iot
    for call in (
        lambda: iot.create_keys_and_certificate(setAsActive=True),
        lambda: iot.create_certificate_from_csr(certificateSigningRequest=request("x")[1]),
        lambda: iot.register_certificate_without_ca(certificatePem="x"),
    ):
        with pytest.raises(ClientError, match="`fleet broker-config`") as error:
            call()
        assert refused(error) == ("InvalidRequestException", 400)
    assert iot.list_certificates()["certificates"] == []


def test_a_service_without_the_authoritys_key_says_so(site: Site, iot: Any) -> None:
    made = iot.create_keys_and_certificate(setAsActive=True)
    (site.config.authority / "ca.key").rename(site.config.folder / "elsewhere.key")
    for call in (
        lambda: iot.create_keys_and_certificate(setAsActive=True),
        lambda: iot.update_certificate(certificateId=made["certificateId"], newStatus="INACTIVE"),
    ):
        with pytest.raises(ClientError, match=r"cannot issue certificates: .*ca\.key") as error:
            call()
        assert refused(error) == ("InvalidRequestException", 400)
    found = iot.describe_certificate(certificateId=made["certificateId"])
    assert found["certificateDescription"]["status"] == "ACTIVE", "and it is still let in"


@pytest.mark.compatibility(
    "11",
    "policies: created, shown, listed, attached to certificates and groups, deleted; not judged",
    unlike="a policy decides what a certificate may do",
    because="the fleet's access list gives each certificate the topics of its own things alone",
)
def test_policies_are_kept_shown_and_attached(site: Site, iot: Any) -> None:
    made = plain(iot.create_policy(policyName="p", policyDocument=POLICY))
    assert made == {
        "policyName": "p",
        "policyArn": ARN + "policy/p",
        "policyDocument": POLICY,
        "policyVersionId": "1",
    }
    assert plain(iot.get_policy(policyName="p")) == {
        "policyName": "p",
        "policyArn": ARN + "policy/p",
        "policyDocument": POLICY,
        "defaultVersionId": "1",
        "creationDate": moment(site),
        "lastModifiedDate": moment(site),
    }
    with pytest.raises(ClientError) as error:
        iot.create_policy(policyName="p", policyDocument=POLICY)
    assert refused(error) == ("ResourceAlreadyExistsException", 409)
    iot.create_policy(policyName="a", policyDocument=POLICY)
    first = iot.list_policies(pageSize=1)
    rest = iot.list_policies(marker=first["nextMarker"])
    assert [found["policies"][0]["policyName"] for found in (first, rest)] == ["a", "p"]
    iot.create_thing_group(thingGroupName="up")
    iot.create_thing_group(thingGroupName="g", parentGroupName="up")
    certificate = iot.create_keys_and_certificate(setAsActive=True)["certificateArn"]
    before = acl(site)
    for target, name in (
        (certificate, "p"),
        (certificate, "a"),
        (certificate, "a"),
        (ARN + "thinggroup/up", "a"),
        (ARN + "thinggroup/g", "p"),
    ):
        iot.attach_policy(policyName=name, target=target)
    assert acl(site) == before, "a policy gives no right"

    def attached(target: str, **asked: Any) -> list[str]:
        found = iot.list_attached_policies(target=target, **asked)["policies"]
        return [one["policyName"] for one in found]

    assert attached(certificate) == ["a", "p"]
    assert attached(ARN + "thinggroup/g") == ["p"]
    assert attached(ARN + "thinggroup/g", recursive=True) == ["a", "p"]
    page = iot.list_attached_policies(target=certificate, pageSize=1)
    assert attached(certificate, marker=page["nextMarker"]) == ["p"]
    with pytest.raises(ClientError, match="is attached") as error:
        iot.delete_policy(policyName="p")
    assert refused(error) == ("DeleteConflictException", 409)
    for target in (certificate, ARN + "thinggroup/g", ARN + "thinggroup/g"):
        iot.detach_policy(policyName="p", target=target)
    iot.delete_policy(policyName="p")
    with pytest.raises(ClientError) as error:
        iot.get_policy(policyName="p")
    assert refused(error) == ("ResourceNotFoundException", 404)
    iot.delete_thing_group(thingGroupName="g")
    iot.delete_thing_group(thingGroupName="up")
    iot.detach_policy(policyName="a", target=certificate)
    iot.delete_policy(policyName="a")


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("no", "not JSON"),
        ("[]", "no object"),
        ('{"Version": "2012-10-17"}', "Statement 0 is no object"),
        ('{"Version": "2012", "Statement": []}', "no object"),
        ('{"Version": "2012-10-17", "Statement": [{"Effect": "May"}]}', "neither Allow nor Deny"),
        ('{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "a"}}', "Resource"),
        ('{"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Resource": [1]}}', "Action"),
        ("{" + " " * 3000 + '"Version": "' + "x" * 2100, "over 2048"),
    ],
)
def test_a_policy_of_another_form_is_refused(bare: Site, document: str, problem: str) -> None:
    assert any(problem in found for found in policies.problems(document))
    with pytest.raises(ClientError, match=problem) as error:
        bare.clients.iot.create_policy(policyName="p", policyDocument=document)
    assert refused(error) == ("MalformedPolicyException", 400)
    assert list(policies.problems(POLICY)) == []


def test_policies_are_for_certificates_and_groups_that_are_there(bare: Site) -> None:
    iot = bare.clients.iot
    iot.create_policy(policyName="p", policyDocument=POLICY)
    iot.create_thing(thingName="b")
    for target, code in (
        (ARN + "thing/b", "InvalidRequestException"),
        ("eu-1:cognito", "InvalidRequestException"),
        (ARN + "cert/" + "0" * 64, "ResourceNotFoundException"),
        (ARN + "thinggroup/g", "ResourceNotFoundException"),
    ):
        for call in (iot.attach_policy, iot.detach_policy):
            with pytest.raises(ClientError) as error:
                call(policyName="p", target=target)
            assert refused(error)[0] == code
    iot.create_thing_group(thingGroupName="g")
    for number in range(10):
        iot.create_policy(policyName=f"p{number}", policyDocument=POLICY)
        iot.attach_policy(policyName=f"p{number}", target=ARN + "thinggroup/g")
    with pytest.raises(ClientError) as error:
        iot.attach_policy(policyName="p", target=ARN + "thinggroup/g")
    assert refused(error) == ("LimitExceededException", 410)
