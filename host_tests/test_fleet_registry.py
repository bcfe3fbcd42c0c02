"""Things, groups and tags through boto3 against a real listener."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from fleet_site import IMAGE, ROLE, THING, Site, moment, plain, refused

ARN = "arn:aws:iot:local:000000000000:"
GROUP = ARN + "thinggroup/"
DOCUMENT = json.dumps({"do": "something"})


def payload(merge: bool | None = None, **attributes: str) -> dict[str, Any]:
    return payload_of(attributes, merge)


def payload_of(attributes: dict[str, str], merge: bool | None = None) -> dict[str, Any]:
    found: dict[str, Any] = {"attributes": attributes}
    return found if merge is None else {**found, "merge": merge}


def names(answer: dict[str, Any]) -> list[str]:
    """The names in a list of things or groups."""
    if "things" in answer:
        return [thing["thingName"] for thing in answer["things"]]
    return [group["groupName"] for group in answer["thingGroups"]]


@pytest.mark.compatibility(
    "11", "UpdateThing replaces attributes, or merges them; an empty value removes one"
)
def test_attributes_are_replaced_or_merged_and_an_empty_value_removes_one(iot: Any) -> None:
    iot.create_thing(thingName="b", attributePayload=payload(room="lab", rack="1"))
    for change, expected in (
        (payload(merge=True, rack="2", row="x"), {"room": "lab", "rack": "2", "row": "x"}),
        (payload(merge=True, row=""), {"room": "lab", "rack": "2"}),
        (payload(room="hall", rack=""), {"room": "hall"}),
        (payload(merge=False), {}),
        (payload(merge=True), {}),
    ):
        iot.update_thing(thingName="b", attributePayload=change)
        assert iot.describe_thing(thingName="b")["attributes"] == expected
    iot.update_thing(thingName="b", attributePayload=payload(room="a"))
    iot.update_thing(thingName="b")
    assert iot.describe_thing(thingName="b")["attributes"] == {"room": "a"}
    assert iot.describe_thing(thingName="b")["version"] == 8


@pytest.mark.compatibility("11", "`expectedVersion` of things and groups: VersionConflictException")
def test_a_change_of_another_version_is_refused_and_changes_nothing(iot: Any) -> None:
    iot.create_thing(thingName="b")
    iot.create_thing_group(thingGroupName="g")
    for call in (
        lambda: iot.update_thing(thingName="b", expectedVersion=2),
        lambda: iot.delete_thing(thingName="b", expectedVersion=2),
        lambda: iot.update_thing_group(
            thingGroupName="g", thingGroupProperties={}, expectedVersion=2
        ),
        lambda: iot.delete_thing_group(thingGroupName="g", expectedVersion=2),
    ):
        with pytest.raises(ClientError) as error:
            call()
        assert refused(error) == ("VersionConflictException", 409)
    assert iot.describe_thing(thingName="b")["version"] == 1
    assert iot.describe_thing_group(thingGroupName="g")["version"] == 1
    iot.update_thing(thingName="b", expectedVersion=1)
    iot.delete_thing(thingName="b", expectedVersion=2)
    iot.delete_thing_group(thingGroupName="g", expectedVersion=1)


def test_more_attributes_than_aws_takes_are_refused(iot: Any) -> None:
    three = payload(a="1", b="2", c="3")
    iot.create_thing(thingName="b", attributePayload=three)
    for call in (
        lambda: iot.create_thing(
            thingName="x", attributePayload=payload_of(dict.fromkeys("abcd", "1"))
        ),
        lambda: iot.update_thing(thingName="b", attributePayload=payload(merge=True, d="4")),
    ):
        with pytest.raises(ClientError, match="4 are more than 3") as error:
            call()
        assert refused(error) == ("InvalidRequestException", 400)
    assert iot.describe_thing(thingName="b")["attributes"] == three["attributes"]


@pytest.mark.compatibility("11", "ListThings by attribute, by the beginning of its value, in pages")
def test_things_are_found_by_attribute(iot: Any) -> None:
    for number, room in enumerate(["lab-1", "lab-2", "hall", "lab-1"]):
        iot.create_thing(
            thingName=f"b{number}", attributePayload=payload_of({"room": room, "a.b": "x"})
        )
    iot.create_thing(thingName="bare")
    asked: dict[str, Any] = {"attributeName": "room", "attributeValue": "lab-1"}
    assert names(iot.list_things(**asked)) == ["b0", "b3"]
    assert names(iot.list_things(attributeName="a.b", attributeValue="x")) == [
        "b0",
        "b1",
        "b2",
        "b3",
    ]
    asked = {"attributeName": "room", "attributeValue": "lab", "usePrefixAttributeValue": True}
    first = iot.list_things(**asked, maxResults=2)
    assert names(first) == ["b0", "b1"]
    assert names(iot.list_things(**asked, nextToken=first["nextToken"])) == ["b3"]
    assert names(iot.list_things(attributeName="room", attributeValue="lab")) == []
    with pytest.raises(ClientError) as error:
        iot.list_things(attributeName="room", nextToken=first["nextToken"])
    assert refused(error) == ("InvalidRequestException", 400)
    with pytest.raises(ClientError, match="nextToken"):
        iot.list_things(attributeName="room", attributeValue="x", nextToken=first["nextToken"])


@pytest.mark.compatibility(
    "11", "DeleteThing: its open executions are REMOVED, and their job ends; again is no error"
)
def test_a_deleted_thing_leaves_its_jobs_and_its_groups(site: Site, iot: Any) -> None:
    for name in ("b1", "b2"):
        iot.create_thing(thingName=name)
    iot.create_thing_group(thingGroupName="g")
    iot.add_thing_to_thing_group(thingName="b1", thingGroupName="g")
    site.world.ask_shadows("$aws/things/b1/shadow/name/ota/update", b'{"state":{"reported":{}}}')
    iot.create_job(jobId="j", targets=[THING + "b1"], document=DOCUMENT)
    site.world.sent()
    iot.delete_thing(thingName="b1")
    iot.delete_thing(thingName="b1")
    assert [topic.rpartition("/")[2] for topic, _ in site.world.sent()] == ["notify", "notify-next"]
    execution = iot.describe_job_execution(jobId="j", thingName="b1")["execution"]
    assert execution["status"] == "REMOVED"
    job = iot.describe_job(jobId="j")["job"]
    assert (job["status"], job["jobProcessDetails"]["numberOfRemovedThings"]) == ("COMPLETED", 1)
    assert iot.list_things_in_thing_group(thingGroupName="g")["things"] == []
    with pytest.raises(ClientError) as error:
        iot.describe_thing(thingName="b1")
    assert refused(error) == ("ResourceNotFoundException", 404)
    site.world.ask_jobs("$aws/things/b1/jobs/get", b"{}")
    assert site.world.sent()[-1][1]["code"] == "ResourceNotFound"
    iot.create_thing(thingName="b1")
    assert iot.describe_thing(thingName="b1")["version"] == 1
    with site.world.store.read() as transaction:
        assert transaction.shadow("b1") is None, "the new thing does not inherit what it ran"
    assert names(iot.list_things()) == ["b1", "b2"]


@pytest.mark.compatibility("11", "thing groups: created, described, changed, deleted; parents")
def test_groups_and_their_parents(site: Site, iot: Any) -> None:
    made = iot.create_thing_group(
        thingGroupName="all",
        thingGroupProperties={
            "thingGroupDescription": "everything",
            "attributePayload": payload(site="north"),
        },
    )
    assert made["thingGroupArn"] == GROUP + "all"
    iot.create_thing_group(thingGroupName="hall", parentGroupName="all")
    iot.create_thing_group(thingGroupName="rack", parentGroupName="hall")
    iot.create_thing_group(thingGroupName="other")
    described = plain(iot.describe_thing_group(thingGroupName="rack"))
    assert described == {
        "thingGroupName": "rack",
        "thingGroupId": described["thingGroupId"],
        "thingGroupArn": GROUP + "rack",
        "version": 1,
        "thingGroupProperties": {"attributePayload": {"attributes": {}}},
        "thingGroupMetadata": {
            "parentGroupName": "hall",
            "rootToParentThingGroups": [
                {"groupName": "all", "groupArn": GROUP + "all"},
                {"groupName": "hall", "groupArn": GROUP + "hall"},
            ],
            "creationDate": moment(site),
        },
    }
    changed = iot.update_thing_group(
        thingGroupName="all",
        thingGroupProperties={"attributePayload": payload(merge=True, floor="2")},
    )
    assert changed["version"] == 2
    properties = iot.describe_thing_group(thingGroupName="all")["thingGroupProperties"]
    assert properties == {
        "thingGroupDescription": "everything",
        "attributePayload": payload(site="north", floor="2"),
    }
    with pytest.raises(ClientError, match="delete rack first") as error:
        iot.delete_thing_group(thingGroupName="hall")
    assert refused(error) == ("InvalidRequestException", 400)
    iot.delete_thing_group(thingGroupName="rack")
    iot.delete_thing_group(thingGroupName="rack")
    iot.delete_thing_group(thingGroupName="hall")
    with pytest.raises(ClientError) as error:
        iot.describe_thing_group(thingGroupName="hall")
    assert refused(error) == ("ResourceNotFoundException", 404)
    assert names(iot.list_thing_groups()) == ["all", "other"]


def test_a_group_that_is_there_already_is_made_again_only_as_it_is(iot: Any) -> None:
    iot.create_thing_group(thingGroupName="up")
    first = plain(iot.create_thing_group(thingGroupName="g", parentGroupName="up"))
    assert plain(iot.create_thing_group(thingGroupName="g", parentGroupName="up")) == first
    with pytest.raises(ClientError) as error:
        iot.create_thing_group(thingGroupName="g")
    assert refused(error) == ("ResourceAlreadyExistsException", 409)
    with pytest.raises(ClientError) as error:
        iot.create_thing_group(thingGroupName="x", parentGroupName="nobody")
    assert refused(error) == ("ResourceNotFoundException", 404)


def test_groups_lie_seven_deep_at_most(iot: Any) -> None:
    iot.create_thing_group(thingGroupName="g1")
    for number in range(2, 8):
        iot.create_thing_group(thingGroupName=f"g{number}", parentGroupName=f"g{number - 1}")
    with pytest.raises(ClientError, match="7 deep"):
        iot.create_thing_group(thingGroupName="g8", parentGroupName="g7")


@pytest.mark.compatibility(
    "11", "ListThingGroups by parent, by prefix, with and without `recursive`"
)
def test_groups_are_listed_by_parent_and_by_prefix_in_pages(iot: Any) -> None:
    for name, parent in (("a", None), ("a-1", "a"), ("a-2", "a"), ("a-1-x", "a-1"), ("b", None)):
        named = {} if parent is None else {"parentGroupName": parent}
        iot.create_thing_group(thingGroupName=name, **named)
    for asked, expected in (
        ({}, ["a", "a-1", "a-1-x", "a-2", "b"]),
        ({"recursive": False}, ["a", "b"]),
        ({"parentGroup": "a"}, ["a-1", "a-1-x", "a-2"]),
        ({"parentGroup": "a", "recursive": False}, ["a-1", "a-2"]),
        ({"namePrefixFilter": "a-1"}, ["a-1", "a-1-x"]),
    ):
        assert names(iot.list_thing_groups(**asked)) == expected, asked
    pages = iot.get_paginator("list_thing_groups").paginate(PaginationConfig={"PageSize": 2})
    assert [names(page) for page in pages] == [["a", "a-1"], ["a-1-x", "a-2"], ["b"]]
    with pytest.raises(ClientError) as error:
        iot.list_thing_groups(parentGroup="nobody")
    assert refused(error) == ("ResourceNotFoundException", 404)


@pytest.mark.compatibility("11", "things join and leave groups, by name and by ARN")
def test_things_join_and_leave_groups(iot: Any) -> None:
    for name in ("b1", "b2", "b3"):
        iot.create_thing(thingName=name)
    iot.create_thing_group(thingGroupName="all")
    iot.create_thing_group(thingGroupName="hall", parentGroupName="all")
    iot.create_thing_group(thingGroupName="beta")
    iot.add_thing_to_thing_group(thingName="b1", thingGroupName="all")
    for _ in range(2):  # again is no harm
        iot.add_thing_to_thing_group(thingArn=THING + "b2", thingGroupArn=GROUP + "hall")
    iot.add_thing_to_thing_group(thingName="b1", thingGroupName="beta")
    assert iot.list_things_in_thing_group(thingGroupName="all")["things"] == ["b1"]
    both = iot.list_things_in_thing_group(thingGroupName="all", recursive=True)
    assert both["things"] == ["b1", "b2"]
    page = iot.list_things_in_thing_group(thingGroupName="all", recursive=True, maxResults=1)
    rest = iot.list_things_in_thing_group(
        thingGroupName="all", recursive=True, nextToken=page["nextToken"]
    )
    assert (page["things"], rest["things"]) == (["b1"], ["b2"])
    assert names(iot.list_thing_groups_for_thing(thingName="b1")) == ["all", "beta"]
    with pytest.raises(ClientError, match="is in group hall of the same hierarchy") as error:
        iot.add_thing_to_thing_group(thingName="b2", thingGroupName="all")
    assert refused(error) == ("InvalidRequestException", 400)
    iot.remove_thing_from_thing_group(thingArn=THING + "b2", thingGroupName="hall")
    iot.remove_thing_from_thing_group(thingName="b2", thingGroupName="hall")
    iot.add_thing_to_thing_group(thingName="b2", thingGroupName="all")
    assert iot.list_things_in_thing_group(thingGroupName="all")["things"] == ["b1", "b2"]
    iot.delete_thing_group(thingGroupName="beta")
    assert names(iot.list_thing_groups_for_thing(thingName="b1")) == ["all"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"thingName": "b1"}, "InvalidRequestException"),
        ({"thingGroupName": "g"}, "InvalidRequestException"),
        ({"thingName": "x", "thingGroupName": "g"}, "ResourceNotFoundException"),
        ({"thingName": "b1", "thingGroupName": "x"}, "ResourceNotFoundException"),
        ({"thingArn": GROUP + "g", "thingGroupName": "g"}, "InvalidRequestException"),
        ({"thingArn": "b1", "thingGroupName": "g"}, "InvalidRequestException"),
        (
            {"thingArn": THING + "b1", "thingName": "b2", "thingGroupName": "g"},
            "InvalidRequestException",
        ),
    ],
)
def test_a_membership_of_what_is_not_there_is_refused(
    iot: Any, asked: dict[str, str], code: str
) -> None:
    iot.create_thing(thingName="b1")
    iot.create_thing_group(thingGroupName="g")
    for call in (iot.add_thing_to_thing_group, iot.remove_thing_from_thing_group):
        with pytest.raises(ClientError) as error:
            call(**asked)
        assert refused(error)[0] == code
    assert iot.list_things_in_thing_group(thingGroupName="g")["things"] == []


def test_a_thing_is_in_ten_groups_at_most(iot: Any) -> None:
    iot.create_thing(thingName="b")
    for number in range(11):
        iot.create_thing_group(thingGroupName=f"g{number}")
    for number in range(10):
        iot.add_thing_to_thing_group(thingName="b", thingGroupName=f"g{number}")
    with pytest.raises(ClientError, match="is in 10 groups"):
        iot.add_thing_to_thing_group(thingName="b", thingGroupName="g10")
    iot.add_thing_to_thing_group(thingName="b", thingGroupName="g9")


@pytest.mark.compatibility("11", "dynamic groups and other absent operations: 501, by name")
def test_dynamic_groups_are_refused_by_name(iot: Any) -> None:
    with pytest.raises(ClientError, match="CreateDynamicThingGroup is not implemented") as error:
        iot.create_dynamic_thing_group(thingGroupName="d", queryString="attributes.a:1")
    assert refused(error) == ("NotImplemented", 501)


def tags(iot: Any, arn: str) -> dict[str, str]:
    found = iot.list_tags_for_resource(resourceArn=arn)["tags"]
    return {tag["Key"]: tag["Value"] for tag in found}


@pytest.mark.compatibility("11", "tags of groups, jobs, streams and OTA updates")
def test_tags_come_with_a_resource_change_and_go_with_it(site: Site, iot: Any) -> None:
    iot.create_thing(thingName="b")
    site.clients.s3.put_object(Bucket="p", Key="k", Body=IMAGE)
    first = [{"Key": "team", "Value": "a"}]
    place = {"s3Location": {"bucket": "p", "key": "k"}}
    made = {
        "thinggroup/r": (
            lambda: iot.create_thing_group(thingGroupName="r", tags=first),
            lambda: iot.delete_thing_group(thingGroupName="r"),
        ),
        "job/r": (
            lambda: iot.create_job(jobId="r", targets=[THING + "b"], document=DOCUMENT, tags=first),
            lambda: iot.delete_job(jobId="r", force=True),
        ),
        "stream/r": (
            lambda: iot.create_stream(
                streamId="r", files=[{"fileId": 0, **place}], roleArn=ROLE, tags=first
            ),
            lambda: iot.delete_stream(streamId="r"),
        ),
        "otaupdate/r": (
            lambda: iot.create_ota_update(
                otaUpdateId="r",
                targets=[THING + "b"],
                files=[{"fileName": "f", "fileLocation": place}],
                roleArn=ROLE,
                tags=first,
            ),
            lambda: iot.delete_ota_update(otaUpdateId="r", forceDeleteAWSJob=True),
        ),
    }
    for name, (make, delete) in made.items():
        arn = ARN + name
        make()
        assert tags(iot, arn) == {"team": "a"}, name
        iot.tag_resource(
            resourceArn=arn, tags=[{"Key": "team", "Value": "b"}, {"Key": "x", "Value": ""}]
        )
        assert tags(iot, arn) == {"team": "b", "x": ""}, name
        iot.untag_resource(resourceArn=arn, tagKeys=["team", "never"])
        assert tags(iot, arn) == {"x": ""}, name
        delete()
        with pytest.raises(ClientError) as error:
            tags(iot, arn)
        assert refused(error) == ("ResourceNotFoundException", 404)
        make()
        assert tags(iot, arn) == {"team": "a"}, "nothing of the one before"


@pytest.mark.parametrize(
    ("arn", "asked", "code"),
    [
        (THING + "b", {"a": "1"}, "InvalidRequestException"),
        (GROUP + "x", {"a": "1"}, "ResourceNotFoundException"),
        ("arn:aws:iot:other:000000000000:thinggroup/g", {"a": "1"}, "InvalidRequestException"),
        (GROUP + "g", {"aws:a": "1"}, "InvalidRequestException"),
        (GROUP + "g", {f"k{number}": "" for number in range(51)}, "LimitExceededException"),
    ],
)
def test_tags_that_aws_does_not_take_are_refused(
    iot: Any, arn: str, asked: dict[str, str], code: str
) -> None:
    iot.create_thing(thingName="b")
    iot.create_thing_group(thingGroupName="g")
    with pytest.raises(ClientError) as error:
        iot.tag_resource(
            resourceArn=arn, tags=[{"Key": key, "Value": value} for key, value in asked.items()]
        )
    assert refused(error)[0] == code
    assert tags(iot, GROUP + "g") == {}


def test_tags_are_fifty_at_most_and_are_listed_in_pages(iot: Any) -> None:
    iot.create_thing_group(thingGroupName="g")
    fifty = [{"Key": f"k{number:02}", "Value": "v"} for number in range(50)]
    iot.tag_resource(resourceArn=GROUP + "g", tags=fifty)
    iot.tag_resource(resourceArn=GROUP + "g", tags=fifty[:1])
    with pytest.raises(ClientError) as error:
        iot.tag_resource(resourceArn=GROUP + "g", tags=[{"Key": "one-more", "Value": ""}])
    assert refused(error) == ("LimitExceededException", 410)
    assert iot.list_tags_for_resource(resourceArn=GROUP + "g")["tags"] == fifty
