"""The policy that boards need at AWS IoT: the same that the access list of `broker` allows.

One policy serves all boards: each reaches what its own name is in, which AWS takes from the thing
that the certificate belongs to. Source: AWS IoT developer guide, "Thing policy variables",
"Publish/Subscribe policy examples"; a policy has at most 2048 characters, blanks aside.
"""

from typing import Any

from twinslot.formats import aws

FILE_NAME = "aws-policy.json"
MAX_SIZE = 2048  # characters, blanks aside
_THING = "${iot:Connection.Thing.ThingName}"


def document(partition: str = "aws") -> dict[str, Any]:
    """The policy as JSON has it. partition: the first word of ARNs of the region."""
    arn = f"arn:{partition}:iot:*:*"
    # A topic each would be too long, and what a thing may not ask, AWS does not answer.
    roots = ["jobs/*", "streams/*", f"shadow/name/{aws.SHADOW}/*"]
    topics = [aws.topic(_THING, root) for root in roots]
    return {
        "Version": "2012-10-17",
        "Statement": [
            _allow("iot:Connect", f"{arn}:client/{_THING}"),
            _allow(["iot:Publish", "iot:Receive"], [f"{arn}:topic/{topic}" for topic in topics]),
            _allow("iot:Subscribe", [f"{arn}:topicfilter/{topic}" for topic in topics]),
        ],
    }


def _allow(action: str | list[str], resource: str | list[str]) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}
