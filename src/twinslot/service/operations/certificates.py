"""Operations on certificates, and on the things that they speak for.

The fleet's own authority issues them, so that they are good at the fleet's broker. Such a
certificate has a name of its own and speaks for the things that it is attached to. A certificate of
`fleet provision` bears the name of its thing, and can be registered, too.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from twinslot.service.admission import Admission
from twinslot.service.api import Operation, Result
from twinslot.service.codec import ApiError
from twinslot.service.names import ACCOUNT, PAGING, Names, invalid, not_found
from twinslot.service.operations.things import thing_of
from twinslot.service.rows.certificates import ACTIVE, INACTIVE, REVOKED, Certificate
from twinslot.service.store import Store, Transaction
from twinslot.trust import certificates, keys
from twinslot.trust.certificates import CertificateError

KIND = "cert"
MARKED = frozenset({"pageSize", "marker", "ascendingOrder"})
"""The parameters of an operation that lists in pages with a marker."""


class CertificateOperations:
    """Certificates. `clock` returns Unix seconds."""

    def __init__(
        self, store: Store, names: Names, admission: Admission, clock: Callable[[], float]
    ) -> None:
        self._store = store
        self._names = names
        self._admission = admission
        self._clock = clock
        pair = {"thingName", "principal"}
        self.operations = {
            "CreateKeysAndCertificate": Operation(self._create, {"setAsActive"}),
            "CreateCertificateFromCsr": Operation(
                self._create_from_request, {"certificateSigningRequest", "setAsActive"}
            ),
            "RegisterCertificateWithoutCA": Operation(self._register, {"certificatePem", "status"}),
            "DescribeCertificate": Operation(self._describe, {"certificateId"}),
            "ListCertificates": Operation(self._list, MARKED),
            "UpdateCertificate": Operation(self._update, {"certificateId", "newStatus"}),
            "DeleteCertificate": Operation(self._delete, {"certificateId", "forceDelete"}),
            "AttachThingPrincipal": Operation(self._attach, pair),
            "DetachThingPrincipal": Operation(self._detach, pair),
            "ListThingPrincipals": Operation(self._list_principals, {"thingName", *PAGING}),
            "ListPrincipalThings": Operation(self._list_things, {"principal", *PAGING}),
        }

    def revoke(self, thing: str) -> None:
        """Revoke all certificates that speak for a thing. Raises ApiError."""
        now = int(self._clock())
        with self._store.write() as transaction:
            named = {one.certificate_id for one in transaction.certificates_named(thing)}
            found = [
                certificate_of(transaction, one)
                for one in sorted(named | set(transaction.certificates_of(thing)))
            ]
            for one in found:
                transaction.save_certificate(_with_status(one, REVOKED, now))
        if found:
            self._admission.settle(refused=[_parsed(one.pem) for one in found])

    def _create(self, parameters: Mapping[str, Any]) -> Result:
        key = keys.generate()
        result = self._issue(key.public_key(), parameters)
        pair = {
            "PublicKey": keys.public_pem(key.public_key()).decode(),
            "PrivateKey": certificates.private_pem(key).decode(),
        }
        return Result({**result, "keyPair": pair})

    def _create_from_request(self, parameters: Mapping[str, Any]) -> Result:
        try:
            key = certificates.key_of_request(parameters["certificateSigningRequest"].encode())
        except CertificateError as error:
            raise invalid(f"certificateSigningRequest: {error}") from error
        return Result(self._issue(key, parameters))

    def _issue(self, key: keys.PublicKey, parameters: Mapping[str, Any]) -> dict[str, Any]:
        made = self._admission.authority().issue_registered(key)
        status = ACTIVE if parameters.get("setAsActive", False) else INACTIVE
        return {**self._add(made, status), "certificatePem": certificates.pem(made).decode()}

    def _register(self, parameters: Mapping[str, Any]) -> Result:
        authority = self._admission.authority()
        try:
            given = certificates.read_certificate(
                parameters["certificatePem"].encode(), "certificatePem"
            )
        except CertificateError as error:
            raise ApiError("CertificateValidationException", str(error), 400) from error
        if not certificates.issued_by(given, authority.certificate):
            raise ApiError(
                "CertificateValidationException",
                "the fleet's broker takes certificates of the fleet's own authority alone, and "
                "this is none: CreateCertificateFromCsr makes one for the same key",
                400,
            )
        name = certificates.name_of(given)
        try:
            if not certificates.is_registered(name):
                certificates.check_thing(name)  # not the service's, nor the broker's
        except CertificateError as error:
            raise ApiError("CertificateValidationException", str(error), 400) from error
        if authority.is_revoked(given):
            raise _state("the certificate is revoked")
        status = parameters.get("status", INACTIVE)
        if status not in (ACTIVE, INACTIVE):
            raise invalid(f"status: {status} is neither ACTIVE nor INACTIVE")
        return Result(self._add(given, status))

    def _add(self, given: x509.Certificate, status: str) -> dict[str, Any]:
        now = int(self._clock())
        found = Certificate(
            certificate_id=hashlib.sha256(_der(given)).hexdigest(),
            pem=certificates.pem(given).decode(),
            name=certificates.name_of(given),
            status=status,
            created_at=now,
            updated_at=now,
        )
        with self._store.write() as transaction:
            if transaction.certificate(found.certificate_id) is not None:
                raise self._names.exists(KIND, found.certificate_id)
            transaction.add_certificate(found)
        if status != ACTIVE:
            self._admission.settle(refused=[given])
        return {
            "certificateArn": self._names.arn(KIND, found.certificate_id),
            "certificateId": found.certificate_id,
        }

    def _describe(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            found = certificate_of(transaction, parameters["certificateId"])
        parsed = _parsed(found.pem)
        described = {
            **self._told(found),
            "certificatePem": found.pem,
            "ownedBy": ACCOUNT,
            "lastModifiedDate": found.updated_at,
            "customerVersion": found.version,
            "validity": {
                "notBefore": int(parsed.not_valid_before_utc.timestamp()),
                "notAfter": int(parsed.not_valid_after_utc.timestamp()),
            },
        }
        return Result({"certificateDescription": described})

    def _list(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.read() as transaction:
            shown, marker = self._names.marked(parameters, "certificates", transaction.certificates)
        return Result({"certificates": [self._told(one) for one in shown], "nextMarker": marker})

    def _update(self, parameters: Mapping[str, Any]) -> Result:
        status = parameters["newStatus"]
        if status not in (ACTIVE, INACTIVE, REVOKED):
            raise invalid(f"newStatus: {status} is none of ACTIVE, INACTIVE, REVOKED")
        self._admission.authority()  # before anything is noted that nobody can bring about
        with self._store.write() as transaction:
            found = certificate_of(transaction, parameters["certificateId"])
            if found.status == REVOKED and status != REVOKED:
                raise _state(f"certificate {found.certificate_id} is REVOKED, which is for ever")
            transaction.save_certificate(_with_status(found, status, int(self._clock())))
        parsed = _parsed(found.pem)
        if status == ACTIVE:
            self._admission.settle(lifted=[parsed])
        else:
            self._admission.settle(refused=[parsed])
        return Result({})

    def _delete(self, parameters: Mapping[str, Any]) -> Result:
        with self._store.write() as transaction:
            found = certificate_of(transaction, parameters["certificateId"])
            arn = self._names.arn(KIND, found.certificate_id)
            if found.status == ACTIVE:
                raise _state(
                    f"certificate {found.certificate_id} is ACTIVE: UpdateCertificate first"
                )
            if things := transaction.things_of(found.certificate_id):
                raise _conflict(f"it speaks for {', '.join(things)}: DetachThingPrincipal first")
            if policies := transaction.policies_of(arn):
                if not parameters.get("forceDelete", False):
                    raise _conflict(f"it has {', '.join(policies)}: DetachPolicy, or forceDelete")
                transaction.detach_policies(arn)
            transaction.delete_certificate(found.certificate_id)  # the list names it for ever
        return Result({})

    def _attach(self, parameters: Mapping[str, Any]) -> Result:
        thing = parameters["thingName"]
        self._admission.authority()
        with self._store.write() as transaction:
            thing_of(transaction, thing)
            found = self.principal(transaction, parameters["principal"])
            if not certificates.is_registered(found.name) and found.name != thing:
                raise invalid(f"this certificate bears the name {found.name}, and speaks for it")
            transaction.attach(found.certificate_id, thing)
        self._admission.settle()
        return Result({})

    def _detach(self, parameters: Mapping[str, Any]) -> Result:
        thing = parameters["thingName"]
        self._admission.authority()
        with self._store.write() as transaction:
            thing_of(transaction, thing)
            found = self.principal(transaction, parameters["principal"])
            if not certificates.is_registered(found.name) and found.status == ACTIVE:
                raise invalid(
                    f"this certificate bears the name {thing} and speaks for it as long as it is "
                    "ACTIVE: UpdateCertificate first"
                )
            transaction.detach(found.certificate_id, thing)
        self._admission.settle()
        return Result({})

    def _list_principals(self, parameters: Mapping[str, Any]) -> Result:
        thing = parameters["thingName"]
        with self._store.read() as transaction:
            thing_of(transaction, thing)
            found = [self._names.arn(KIND, one) for one in transaction.certificates_of(thing)]
        shown, token = self._names.page_of(found, parameters, ("principals", thing))
        return Result({"principals": shown, "nextToken": token})

    def _list_things(self, parameters: Mapping[str, Any]) -> Result:
        principal = parameters["principal"]
        with self._store.read() as transaction:
            found = transaction.things_of(self.principal(transaction, principal).certificate_id)
        shown, token = self._names.page_of(found, parameters, ("things of", principal))
        return Result({"things": shown, "nextToken": token})

    def principal(self, transaction: Transaction, arn: str) -> Certificate:
        """The certificate that a principal's ARN names. Raises ApiError."""
        kind, name = self._names.parts(arn)
        if kind != KIND:
            raise invalid(f"{arn}: only certificates are principals here")
        return certificate_of(transaction, name)

    def _told(self, found: Certificate) -> dict[str, Any]:
        return {
            "certificateArn": self._names.arn(KIND, found.certificate_id),
            "certificateId": found.certificate_id,
            "status": found.status,
            "certificateMode": "DEFAULT",
            "creationDate": found.created_at,
        }


def certificate_of(transaction: Transaction, certificate_id: str) -> Certificate:
    """The certificate of this id. Raises ApiError."""
    found = transaction.certificate(certificate_id)
    if found is None:
        raise not_found(f"no certificate {certificate_id}")
    return found


def _with_status(found: Certificate, status: str, now: int) -> Certificate:
    return replace(found, status=status, updated_at=now, version=found.version + 1)


def _parsed(pem: str) -> x509.Certificate:
    return certificates.read_certificate(pem.encode(), "the registry")


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _state(message: str) -> ApiError:
    return ApiError("CertificateStateException", message, 406)


def _conflict(message: str) -> ApiError:
    return ApiError("DeleteConflictException", f"the certificate cannot go: {message}", 409)
