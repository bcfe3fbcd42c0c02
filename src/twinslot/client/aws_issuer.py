"""Certificates of an account of AWS, for keys that AWS never sees.

AWS signs what a request asks for (CreateCertificateFromCsr); the key stays where it was made, on
the board or in the fleet's folder. A certificate lets a board in once a policy and its thing are
attached to it (AWS IoT developer guide, "X.509 client certificates").
"""

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from botocore.httpsession import get_cert_path

from twinslot import disk
from twinslot.addresses import Address
from twinslot.client import policy
from twinslot.client.aws_account import AwsAccount
from twinslot.client.issuer import ProvisionError, Say, UnknownThingError
from twinslot.trust import certificates, pem

PORT = 8883
_ROOTS = ("Amazon Root CA 1", "Amazon Root CA 3")
"""They sign the certificates of endpoints, for RSA and for ECDSA (developer guide, "Server
authentication")."""
_CERTIFICATE = re.compile(r"arn:aws[a-z-]*:iot:[^:]+:\d{12}:cert/([0-9a-f]+)")


class AwsIssuer:
    """The certificates of an account. policy_name: of the policy that all boards have."""

    def __init__(self, account: AwsAccount, policy_name: str) -> None:
        self._account = account
        self._iot = account.iot
        self._policy = policy_name

    def broker(self) -> Address:
        """The account's own endpoint for MQTT."""
        return Address(self._account.address("iot:Data-ATS"), PORT)

    def settings(self) -> Mapping[str, Any]:
        """A source of time: mbedTLS compares AWS's certificates with the board's clock."""
        return {"ntp": "time.aws.com"}

    def check(self, thing: str, *, renew: bool) -> None:
        """Refuse a thing that has a certificate, and one that shares its certificate."""
        if self._held(thing) and not renew:
            raise ProvisionError(
                f"{thing} has a certificate at AWS; --renew makes a new one and revokes the old one"
            )

    def anchors(self) -> bytes:
        """Amazon's roots, which botocore brings. Raises ProvisionError where it does not."""
        path = Path(get_cert_path(True))
        found = {}
        for block in pem.blocks(disk.read(path, "the public authorities"), str(path)):
            if any(name.encode() in block.der for name in _ROOTS):
                certificate = certificates.of_der(block.der)
                found[certificates.name_of(certificate)] = certificates.pem(certificate)
        missing = [name for name in _ROOTS if name not in found]
        if missing:
            raise ProvisionError(
                f"{path} does not hold {' and '.join(missing)}, which sign AWS's certificates: "
                "install botocore again"
            )
        return b"".join(found[name] for name in _ROOTS)

    @contextmanager
    def issuing(self, thing: str, request: bytes) -> Iterator[bytes]:
        """A certificate with the boards' policy and the thing; then the ones before are revoked."""
        before = self._held(thing)
        self._make_policy()
        self._iot.create_thing(thingName=thing)
        made = self._iot.create_certificate_from_csr(
            certificateSigningRequest=request.decode(), setAsActive=True
        )
        arn = made["certificateArn"]
        try:
            self._iot.attach_policy(policyName=self._policy, target=arn)
            self._iot.attach_thing_principal(thingName=thing, principal=arn)
            yield made["certificatePem"].encode()
        except BaseException:
            self._take_back(thing, arn)
            raise
        for old in before:
            self._revoke(old)
            self._iot.detach_thing_principal(thingName=thing, principal=old)

    def introduce(self, thing: str, say: Say, *, renew: bool) -> None:
        """Say what AWS knows; nobody else must hear of it."""
        say(f"AWS knows {thing}; its certificate has the policy {self._policy}")
        if renew:
            say("AWS refuses the certificates before, and cuts their connections within minutes")

    def revoke(self, thing: str, say: Say, *, disconnect: bool) -> None:
        """Revoke the certificates of a thing; its jobs stay."""
        held = self._held(thing)
        if not held:
            raise UnknownThingError(f"AWS has no certificate of {thing}")
        for arn in held:
            self._revoke(arn)
        say(f"AWS refuses {thing} from now on; jobs that wait for it stay until `fleet cancel`")
        if not disconnect:
            say("An open connection ends within minutes. To cut it now:")
            say(f"  fleet --to aws revoke {thing} --disconnect")
            return
        data = self._account.data
        try:
            data.delete_connection(clientId=thing)
        except data.exceptions.ResourceNotFoundException:
            say("it has no connection")
        else:
            say("its connection is cut")

    def _held(self, thing: str) -> list[str]:
        """The ARNs of a thing's certificates. Raises ProvisionError for one of other things, too.

        To revoke that would lock these out.
        """
        pages = self._iot.get_paginator("list_thing_principals").paginate(thingName=thing)
        try:
            principals = [arn for page in pages for arn in page.get("principals", ())]
        except self._iot.exceptions.ResourceNotFoundException:
            return []
        found = [arn for arn in principals if _CERTIFICATE.fullmatch(arn)]
        for arn in found:
            pages = self._iot.get_paginator("list_principal_things").paginate(principal=arn)
            others = {name for page in pages for name in page.get("things", ())} - {thing}
            if others:
                raise ProvisionError(
                    f"{thing} shares the certificate {_id(arn)} with {', '.join(sorted(others))}: "
                    "detach it from those who have one of their own first"
                )
        return found

    def _make_policy(self) -> None:
        """Make the policy of boards; one that is there is the operator's, and stays as it is."""
        text = json.dumps(policy.document(self._account.partition), separators=(",", ":"))
        with contextlib.suppress(self._iot.exceptions.ResourceAlreadyExistsException):
            self._iot.create_policy(policyName=self._policy, policyDocument=text)

    def _revoke(self, arn: str) -> None:
        self._iot.update_certificate(certificateId=_id(arn), newStatus="REVOKED")

    def _take_back(self, thing: str, arn: str) -> None:
        """Remove a certificate that nobody got, as far as AWS answers."""
        number = _id(arn)
        for call, values in (
            (self._iot.update_certificate, {"certificateId": number, "newStatus": "INACTIVE"}),
            (self._iot.detach_thing_principal, {"thingName": thing, "principal": arn}),
            (self._iot.detach_policy, {"policyName": self._policy, "target": arn}),
            (self._iot.delete_certificate, {"certificateId": number}),
        ):
            with contextlib.suppress(ClientError, BotoCoreError):
                call(**values)


def _id(arn: str) -> str:
    return arn.rpartition("/")[2]
