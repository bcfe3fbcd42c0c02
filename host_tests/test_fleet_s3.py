"""S3 beside its objects: buckets, lists, deletion, checksums, uploads in parts, through boto3."""

import base64
import binascii
import hashlib
from pathlib import Path
from typing import Any

import boto3.s3.transfer
import pytest
from botocore.exceptions import ClientError
from fleet_site import IMAGE, ROLE, Site, moment, plain, refused

from twinslot.formats import aws
from twinslot.service import codec, xml
from twinslot.service.uploads import MIN_PART

FIRST = bytes(range(256)) * (MIN_PART // 256)
LAST = b"the last part"


@pytest.fixture
def store(site: Site) -> Any:
    return site.clients.s3


def crc(data: bytes) -> str:
    return base64.b64encode(binascii.crc32(data).to_bytes(4, "big")).decode()


def sha(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


def kept(site: Site) -> int:
    """How many files the object folder has."""
    return len([path for path in (site.config.folder / "objects").iterdir() if path.is_file()])


@pytest.mark.compatibility("12", "CreateBucket, HeadBucket, ListBuckets")
def test_buckets_are_made_and_listed(site: Site, store: Any) -> None:
    configuration = {"LocationConstraint": "eu-central-1"}
    made = store.create_bucket(Bucket="two", CreateBucketConfiguration=configuration)
    assert made["Location"] == "/two"
    store.put_object(Bucket="one", Key="k", Body=b"x")
    with pytest.raises(ClientError) as error:
        store.create_bucket(Bucket="two")
    assert refused(error) == ("BucketAlreadyOwnedByYou", 409)
    with pytest.raises(ClientError) as error:
        store.create_bucket(Bucket="ab")
    assert refused(error) == ("InvalidBucketName", 400)
    assert store.head_bucket(Bucket="one")["BucketRegion"] == "local"
    with pytest.raises(ClientError) as error:
        store.head_bucket(Bucket="three")
    assert refused(error) == ("404", 404)
    listed = store.list_buckets()
    assert listed["Buckets"] == [
        {"Name": "one", "CreationDate": moment(site)},
        {"Name": "two", "CreationDate": moment(site)},
    ]
    page = store.list_buckets(MaxBuckets=1)
    rest = store.list_buckets(ContinuationToken=page["ContinuationToken"])
    assert [found["Buckets"][0]["Name"] for found in (page, rest)] == ["one", "two"]
    assert [one["Name"] for one in store.list_buckets(Prefix="t")["Buckets"]] == ["two"]


@pytest.mark.compatibility("12", "ListObjectsV2: prefix, delimiter, pages, StartAfter")
def test_objects_are_listed_by_prefix_and_delimiter_in_pages(site: Site, store: Any) -> None:
    keys = ["a.ota", "app/1.ota", "app/2.ota", "app/old/0.ota", "b ü&<.ota", "z/1"]
    for key in reversed(keys):
        store.put_object(Bucket="packages", Key=key, Body=IMAGE)
    store.put_object(Bucket="other", Key="x", Body=b"")

    def listed(**asked: Any) -> tuple[list[str], list[str]]:
        found = store.list_objects_v2(Bucket="packages", **asked)
        assert found["KeyCount"] == len(found.get("Contents", [])) + len(
            found.get("CommonPrefixes", [])
        )
        return (
            [one["Key"] for one in found.get("Contents", [])],
            [one["Prefix"] for one in found.get("CommonPrefixes", [])],
        )

    assert listed() == (keys, [])
    assert listed(Prefix="app/") == (keys[1:4], [])
    assert listed(Delimiter="/") == (["a.ota", "b ü&<.ota"], ["app/", "z/"])
    assert listed(Prefix="app/", Delimiter="/") == (keys[1:3], ["app/old/"])
    assert listed(StartAfter="app/2.ota") == (keys[3:], [])
    assert listed(Prefix="nothing") == ([], [])
    pages = store.get_paginator("list_objects_v2").paginate(
        Bucket="packages", Delimiter="/", PaginationConfig={"PageSize": 1}
    )
    found = [
        (page.get("Contents") or [{}])[0].get("Key") or page["CommonPrefixes"][0]["Prefix"]
        for page in pages
    ]
    assert found == ["a.ota", "app/", "b ü&<.ota", "z/"]
    (one,) = store.list_objects_v2(Bucket="packages", Prefix="a.ota")["Contents"]
    assert (one["Size"], one["LastModified"]) == (len(IMAGE), moment(site))
    assert one["ETag"] == store.head_object(Bucket="packages", Key="a.ota")["ETag"]
    with pytest.raises(ClientError) as error:
        store.list_objects_v2(Bucket="nowhere")
    assert refused(error) == ("NoSuchBucket", 404)
    with pytest.raises(ClientError) as error:
        store.list_objects_v2(Bucket="packages", ContinuationToken="x")
    assert refused(error) == ("InvalidArgument", 400)


@pytest.mark.compatibility("12", "DeleteObject; again is no error")
def test_a_deleted_object_is_gone_with_its_bytes_unless_another_has_them(
    site: Site, store: Any
) -> None:
    for key in ("a", "b"):
        store.put_object(Bucket="packages", Key=key, Body=IMAGE)
    iot = site.clients.iot
    place = {"fileId": 0, "s3Location": {"bucket": "packages", "key": "a"}}
    iot.create_stream(streamId="s", files=[place], roleArn=ROLE)
    for _ in range(2):
        assert (
            store.delete_object(Bucket="packages", Key="a")["ResponseMetadata"]["HTTPStatusCode"]
            == 204
        )
    with pytest.raises(ClientError) as error:
        store.head_object(Bucket="packages", Key="a")
    assert refused(error) == ("404", 404)
    with site.world.store.read() as transaction:
        source = transaction.source("s")
    assert source is not None
    assert source.objects == {}, "the stream serves it no more"
    assert store.get_object(Bucket="packages", Key="b")["Body"].read() == IMAGE
    assert kept(site) == 1
    store.put_object(Bucket="packages", Key="b", Body=b"another")
    assert kept(site) == 1, "what was replaced is gone, too"
    store.delete_object(Bucket="packages", Key="b")
    assert kept(site) == 0


def test_an_object_is_read_only_as_it_was(store: Any) -> None:
    tag = store.put_object(Bucket="packages", Key="k", Body=IMAGE)["ETag"]
    for call in (store.get_object, store.head_object):
        assert call(Bucket="packages", Key="k", IfMatch=tag)["ETag"] == tag
        with pytest.raises(ClientError) as error:
            call(Bucket="packages", Key="k", IfMatch='"other"')
        assert refused(error)[1] == 412


@pytest.mark.compatibility("12", "checksums CRC32 and SHA-256: kept, told, wrong ones BadDigest")
@pytest.mark.parametrize(("algorithm", "summed"), [("CRC32", crc), ("SHA256", sha)])
def test_checksums_are_looked_at_and_told(store: Any, algorithm: str, summed: Any) -> None:
    name = f"Checksum{algorithm}"
    put = store.put_object(Bucket="packages", Key="k", Body=IMAGE, ChecksumAlgorithm=algorithm)
    assert (put[name], put["ChecksumType"]) == (summed(IMAGE), "FULL_OBJECT")
    head = store.head_object(Bucket="packages", Key="k", ChecksumMode="ENABLED")
    assert head[name] == summed(IMAGE)
    assert name not in store.head_object(Bucket="packages", Key="k")
    got = store.get_object(Bucket="packages", Key="k", ChecksumMode="ENABLED")
    assert got[name] == summed(IMAGE)
    assert got["Body"].read() == IMAGE, "botocore has compared it"
    part = store.get_object(Bucket="packages", Key="k", Range="bytes=0-9", ChecksumMode="ENABLED")
    assert name not in part
    with pytest.raises(ClientError, match=name) as error:
        store.put_object(Bucket="packages", Key="k", Body=b"other", **{name: summed(IMAGE)})
    assert refused(error) == ("BadDigest", 400)
    assert store.get_object(Bucket="packages", Key="k")["Body"].read() == IMAGE


def test_a_wrong_md5_is_refused(store: Any) -> None:
    with pytest.raises(ClientError, match="Content-MD5") as error:
        store.put_object(Bucket="packages", Key="k", Body=b"x", ContentMD5=base64.b64encode(
            hashlib.md5(b"y", usedforsecurity=False).digest()
        ).decode())  # fmt: skip
    assert refused(error) == ("BadDigest", 400)


@pytest.mark.compatibility("12", "uploads in parts: created, listed, completed; the ETag of parts")
def test_an_object_comes_in_parts(site: Site, store: Any) -> None:
    named = {"Bucket": "packages", "Key": "folder/big ü.ota"}
    upload = store.create_multipart_upload(
        **named, ContentType="application/x", Metadata={"made-by": "a test"}
    )
    where = {**named, "UploadId": upload["UploadId"]}
    assert plain(upload)["Key"] == named["Key"]
    parts = []
    for number, body in ((2, LAST), (1, b"first try"), (1, FIRST)):
        tag = store.upload_part(**where, PartNumber=number, Body=body)["ETag"]
        parts.append({"PartNumber": number, "ETag": tag})
    chosen = [parts[2], parts[0]]
    assert kept(site) == 2, "a part that came again is not kept twice"
    listed = store.list_parts(**where, MaxParts=1)
    assert [(one["PartNumber"], one["Size"]) for one in listed["Parts"]] == [(1, MIN_PART)]
    assert listed["IsTruncated"]
    rest = store.list_parts(**where, PartNumberMarker=listed["NextPartNumberMarker"])
    assert [one["ETag"] for one in rest["Parts"]] == [parts[0]["ETag"]]
    with pytest.raises(ClientError) as error:
        store.head_object(**named)
    assert refused(error) == ("404", 404)
    done = store.complete_multipart_upload(**where, MultipartUpload={"Parts": chosen})
    digests = b"".join(hashlib.md5(body, usedforsecurity=False).digest() for body in (FIRST, LAST))
    etag = f'"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-2"'
    assert done["ETag"] == etag
    found = store.get_object(**named)
    assert found["Body"].read() == FIRST + LAST
    assert (found["ETag"], found["ContentType"]) == (etag, "application/x")
    assert found["Metadata"] == {"made-by": "a test"}
    assert kept(site) == 1, "the parts are gone"
    with pytest.raises(ClientError) as error:
        store.list_parts(**where)
    assert refused(error) == ("NoSuchUpload", 404)
    place = {"fileId": 0, "s3Location": {"bucket": "packages", "key": named["Key"]}}
    site.clients.iot.create_stream(streamId="s", files=[place], roleArn=ROLE)
    with site.world.store.read() as transaction:
        source = transaction.source("s")
    assert source is not None
    assert source.objects, "the longer ETag is a stream's, too"


@pytest.mark.compatibility("12", "checksums of uploads in parts, COMPOSITE and FULL_OBJECT")
@pytest.mark.parametrize(
    ("algorithm", "kind", "summed"),
    [("CRC32", "COMPOSITE", crc), ("SHA256", "COMPOSITE", sha), ("CRC32", "FULL_OBJECT", crc)],
)
def test_an_upload_has_the_checksum_of_its_parts(
    store: Any, algorithm: str, kind: str, summed: Any
) -> None:
    name, named = f"Checksum{algorithm}", {"Bucket": "packages", "Key": "k"}
    upload = store.create_multipart_upload(**named, ChecksumAlgorithm=algorithm, ChecksumType=kind)
    where = {**named, "UploadId": upload["UploadId"]}
    parts = []
    for number, body in enumerate((FIRST, LAST), 1):
        put = store.upload_part(**where, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
        assert put[name] == summed(body)
        parts.append({"PartNumber": number, "ETag": put["ETag"], name: put[name]})
    done = store.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
    raw = b"".join(base64.b64decode(summed(body)) for body in (FIRST, LAST))
    whole = summed(FIRST + LAST) if kind == "FULL_OBJECT" else f"{summed(raw)}-2"
    assert (done[name], done["ChecksumType"]) == (whole, kind)
    got = store.get_object(**named, ChecksumMode="ENABLED")
    assert got[name] == whole
    assert got["Body"].read() == FIRST + LAST


def test_boto3s_own_transfer_uploads_in_parts(store: Any, tmp_path: Path) -> None:
    data = FIRST + FIRST + LAST
    (tmp_path / "file").write_bytes(data)
    limits = boto3.s3.transfer.TransferConfig(
        multipart_threshold=MIN_PART, multipart_chunksize=MIN_PART
    )
    store.upload_file(str(tmp_path / "file"), "packages", "k", Config=limits)
    assert store.head_object(Bucket="packages", Key="k")["ETag"].endswith('-3"')
    store.download_file("packages", "k", str(tmp_path / "back"), Config=limits)
    assert (tmp_path / "back").read_bytes() == data


def test_an_aborted_upload_leaves_nothing(site: Site, store: Any) -> None:
    named = {"Bucket": "packages", "Key": "k"}
    where = {**named, "UploadId": store.create_multipart_upload(**named)["UploadId"]}
    store.upload_part(**where, PartNumber=1, Body=LAST)
    with pytest.raises(ClientError) as error:
        store.abort_multipart_upload(**{**where, "Key": "other"})
    assert refused(error) == ("NoSuchUpload", 404)
    store.abort_multipart_upload(**where)
    assert kept(site) == 0
    for call in (store.abort_multipart_upload, store.list_parts):
        with pytest.raises(ClientError) as error:
            call(**where)
        assert refused(error) == ("NoSuchUpload", 404)
    with pytest.raises(ClientError) as error:
        store.upload_part(**where, PartNumber=1, Body=LAST)
    assert refused(error) == ("NoSuchUpload", 404)


def test_an_upload_that_does_not_fit_is_refused_and_stays(site: Site, store: Any) -> None:
    named = {"Bucket": "packages", "Key": "k"}
    where = {**named, "UploadId": store.create_multipart_upload(**named)["UploadId"]}
    tags = [
        store.upload_part(**where, PartNumber=number, Body=body)["ETag"]
        for number, body in ((1, LAST), (2, LAST + b"!"))
    ]
    one, two = ({"PartNumber": number, "ETag": tag} for number, tag in enumerate(tags, 1))
    for parts, code in (
        ([one, two], "EntityTooSmall"),
        ([two, one], "InvalidPartOrder"),
        ([{**one, "ETag": tags[1]}], "InvalidPart"),
        ([{"PartNumber": 7, "ETag": tags[0]}], "InvalidPart"),
        ([], "MalformedXML"),
    ):  # fmt: skip
        with pytest.raises(ClientError) as error:
            store.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
        assert refused(error) == (code, 400)
    for asked, code in (
        ({"PartNumber": 10_001, "Body": b"x"}, "InvalidArgument"),
        ({"PartNumber": 1, "Body": bytes(aws.MAX_FILE + 1)}, "EntityTooLarge"),
    ):
        with pytest.raises(ClientError) as error:
            store.upload_part(**where, **asked)
        assert refused(error) == (code, 400)
    store.complete_multipart_upload(**where, MultipartUpload={"Parts": [one]})
    assert store.get_object(**named)["Body"].read() == LAST


def test_checksums_that_are_not_here_are_refused_by_name(store: Any) -> None:
    for algorithm, expected in (
        ("SHA1", ("NotImplemented", 501)),
        ("SHA256", ("InvalidRequest", 400)),
    ):
        with pytest.raises(ClientError) as error:
            store.create_multipart_upload(
                Bucket="packages", Key="k", ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT"
            )
        assert refused(error) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"no",
        b"<a>",
        b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>',
        b"<a><Part><PartNumber>x</PartNumber></Part></a>",
    ],
)
def test_a_body_that_is_no_such_xml_is_refused(body: bytes) -> None:
    shape = codec.service_model("s3").shape_for("CompletedMultipartUpload")
    with pytest.raises(ValueError, match=r"."):
        xml.read(shape, body)
