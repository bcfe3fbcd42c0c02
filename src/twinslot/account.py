"""The table [aws] of fleet.toml: an account of AWS, and what of it is the fleet's."""

from dataclasses import dataclass

from twinslot.tables import Section


@dataclass(frozen=True)
class Account:
    """The table [aws]: an account of AWS, and what of it is this fleet's.

    profile: of the machine's AWS settings, "" for the one that AWS's own tools would take; bucket:
    for packages; role: ARN of the role by which AWS reads them; policy: name of the boards' policy;
    endpoint: URL of a stand-in for all of AWS's services, "" for AWS.
    """

    region: str
    bucket: str
    role: str
    profile: str = ""
    policy: str = "fleet-boards"
    endpoint: str = ""


def account_of(table: Section) -> Account:
    """Read the table. Raises ConfigError, also for a setting that is none of these.

    Limits of names: AWS's API models; S3 user guide, "Bucket naming rules".
    """
    account = Account(
        region=table.matching(
            "region", r"[a-z]{2,4}(-[a-z]+)+-\d", "a region, such as eu-central-1"
        ),
        bucket=table.matching(
            "bucket",
            r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
            "the name of a bucket: 3 to 63 small letters, digits, dots and hyphens",
        ),
        role=table.matching(
            "role",
            r"arn:aws[a-z-]*:iam::\d{12}:role/\S{1,512}",
            "the ARN of a role, such as arn:aws:iam::123456789012:role/fleet-packages",
        ),
        profile=table.text("profile", default=Account.profile),
        policy=table.matching(
            "policy",
            r"[\w+=,.@-]{1,128}",
            "the name of a policy: 1 to 128 letters, digits and + = , . @ - _",
            Account.policy,
        ),
        endpoint=table.text("endpoint", default=Account.endpoint),
    )
    table.refuse_unknown()
    return account
