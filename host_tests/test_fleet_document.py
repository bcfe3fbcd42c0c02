"""Job documents of updates: AWS's form to the byte, and placeholders that become URLs."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinslot.formats import document
from twinslot.formats.document import HTTP, MQTT, DocumentError, File, Location

KEY = Location("bucket", "fw/app.bin")
PREFIX = "${aws:iot:s3-presigned-url:"
PLACEHOLDER = PREFIX + "https://s3.local.amazonaws.com/bucket/fw/app.bin}"
SIGNATURE = ("sig-sha256-ecdsa", "MEUCIGarghx/ZM93")


@pytest.mark.compatibility("2", "the document of an update by MQTT, byte by byte", path="MQTT")
def test_an_update_by_mqtt_has_the_form_of_the_fact_sheet() -> None:
    file = File("/fw/app.bin", 10000, 0, "/certs/signer.pem", 0, SIGNATURE, KEY)
    assert document.of_update([file], [MQTT], "AFR_OTA-1", "local") == (
        '{"afr_ota":{"protocols":["MQTT"],"streamname":"AFR_OTA-1","files":[{'
        '"filepath":"/fw/app.bin","filesize":10000,"fileid":0,"certfile":"/certs/signer.pem",'
        '"fileType":0,"sig-sha256-ecdsa":"MEUCIGarghx/ZM93"}]}}'
    )


@pytest.mark.compatibility(
    "2", "the document of an update by HTTP has a URL and no stream", path="HTTP"
)
def test_an_update_by_http_has_a_url_and_no_stream() -> None:
    file = File("/fw/app.bin", 10000, certificate="/c", signature=SIGNATURE, location=KEY)
    assert document.of_update([file], [HTTP], None, "local") == (
        '{"afr_ota":{"protocols":["HTTP"],"files":[{'
        '"filepath":"/fw/app.bin","filesize":10000,"fileid":0,"certfile":"/c",'
        f'"update_data_url":"{PLACEHOLDER}","auth_scheme":"aws.s3.presigned",'
        '"sig-sha256-ecdsa":"MEUCIGarghx/ZM93"}]}}'
    )


@pytest.mark.compatibility(
    "2", "with both protocols both are offered; what was not said is left out", path="MQTT, HTTP"
)
def test_both_protocols_offer_both_and_what_is_unknown_is_left_out() -> None:
    text = document.of_update([File(None, 1, 7, location=KEY)], [MQTT, HTTP], "s", "local")
    assert '"protocols":["MQTT","HTTP"]' in text  # agents keep 19 bytes for this
    update = json.loads(text)["afr_ota"]
    assert update["streamname"] == "s"
    assert update["files"] == [
        {
            "filesize": 1,
            "fileid": 7,
            "update_data_url": PLACEHOLDER,
            "auth_scheme": "aws.s3.presigned",
        }
    ]


@pytest.mark.parametrize(
    ("url", "location"),
    [
        ("https://s3.amazonaws.com/bucket/key", Location("bucket", "key")),
        ("https://s3.eu-west-1.amazonaws.com/bucket/a/b%20c", Location("bucket", "a/b c")),
        ("https://bucket.s3.eu-west-1.amazonaws.com/a/b", Location("bucket", "a/b")),
        ("https://bucket.s3-eu-west-1.amazonaws.com/a", Location("bucket", "a")),
        ("http://127.0.0.1:8080/bucket/key", Location("bucket", "key")),
        (r"https:\/\/s3.amazonaws.com\/bucket\/key", Location("bucket", "key")),
        ("https://s3.amazonaws.com/bucket/%7D%22", Location("bucket", '}"')),
    ],
)
def test_a_placeholder_names_an_object_in_any_way_that_s3_urls_do(
    url: str, location: Location
) -> None:
    text = '{"a":["' + PREFIX + url + '}"]}'
    assert document.locations(text) == [location]
    assert json.loads(document.resolved(text, str)) == {"a": [str(location)]}


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bucket/key",
        "ftp://s3.amazonaws.com/bucket/key",
        "https://s3.amazonaws.com/bucket",
        "https://s3.amazonaws.com/bucket/",
        "https://s3.amazonaws.com//key",
        "https:///bucket/key",
        "https://[/bucket/key",
        r"\x",
    ],
)
def test_a_placeholder_of_nothing_is_named_in_the_error(url: str) -> None:
    text = '{"a":"' + PREFIX + url + '}"}'
    with pytest.raises(DocumentError) as error:
        document.locations(text)
    assert PREFIX in str(error.value)


def test_a_placeholder_with_half_a_character_is_no_url() -> None:
    text = '{"a":"' + PREFIX + r'https://s3.local.amazonaws.com/bucket/\ud800"}'
    text = text.replace('"}', '}"}')
    with pytest.raises(DocumentError, match="not a URL"):
        document.locations(text)


def test_the_sequence_of_a_package_is_read_out_of_its_description() -> None:
    text = document.description("demo-board", "1.1.0", 7)
    assert text == "demo-board 1.1.0, sequence 7", "databases hold it"
    assert document.described_sequence(text, "demo-board") == 7
    for other in ("demo", "demo-board 1.1.0", "other"):
        assert document.described_sequence(text, other) == 0
    for other in ("", "demo-board 1.1.0", f"{text} ", "demo-board 1, sequence 12345678901"):
        assert document.described_sequence(other, "demo-board") == 0


def test_other_placeholders_and_text_stay_as_they_are() -> None:
    text = '{"a":"${aws:iot:parameter:x}","b":"$ { } \\u00e4","c":[1.50,{"d":null}]}'
    assert document.locations(text) == []
    assert document.resolved(text, str) == text


@given(st.text(min_size=1).filter(lambda key: not key.startswith("/")))
def test_any_key_comes_back_from_the_document_that_names_it(key: str) -> None:
    location = Location("bucket", key)
    try:
        text = document.of_update([File("n", 1, location=location)], [HTTP], None, "local")
    except UnicodeEncodeError:
        return  # a lone surrogate is no key of S3
    assert document.locations(text) == [location]
