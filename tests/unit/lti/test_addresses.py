"""What counts as a web address, and whose it is."""

from urllib.parse import urlsplit

import pytest
import requests

from app.lti.addresses import host_of, is_protected, origin_of, same_origin, web_address, with_query
from app.lti.models import MAX_URL


@pytest.mark.parametrize(
    "value",
    [
        None,
        7,
        "",
        "https://",
        "https:///path",
        "ftp://lms.example/",
        "//lms.example/",
        "javascript:alert(1)",
        "https://lms.example:port/",
        "https://[::1/",
        "https://lms example/",
        "https://lms.example/\x00",
        "https://lms.exämple/",
        "https://tool.example@lms.example/",
        "https://lms.example\\@tool.example/",
        "https://lms.example:443\\@tool.example/",
        "https://lms.example%40tool.example/",
        "https://lms.example%2f.tool.example/",
        "https://lms.example;tool.example/",
        "https://lms.example\t@tool.example/",
        "https://lms.example\n.tool.example/",
        "https://lms.example/\r",
        " https://lms.example/",
        "\x01https://lms.example/",
        "https://lms\u3002example/",
        "https://lms.example\uff0f.tool.example/",
        "https://lms.example./",
        "https://lms..example/",
        "https://.example/",
        "https://lms.example:0/",
        "https://lms.example:+443/",
        "https://[fe80::1%25eth0]/",
        "https://lms.example/" + "x" * MAX_URL,
    ],
)
def test_what_no_browser_should_be_sent_to_is_no_address(value: object) -> None:
    assert web_address(value) is None


@pytest.mark.parametrize(
    "value", ["https://lms.example", "http://lms.example:8080/a b?c=d", "https://[::1]/x"]
)
def test_an_address_is_kept_as_it_came(value: str) -> None:
    assert web_address(value) == value


@pytest.mark.parametrize(
    "address",
    [
        "http://127.0.0.5:18705\\@127.0.0.6:18706/cfg",
        "http://lms.example\t:80/",
        "https://lms.example\n.tool.example/",
        "https://user:word@lms.example/",
        "https://lms.example./",
        "https://lms.example:0/",
    ],
)
def test_what_can_be_read_in_two_ways_has_no_host_and_no_origin(address: str) -> None:
    assert host_of(address) == origin_of(address) == ""
    assert not is_protected(address, production=False)


@pytest.mark.parametrize(
    "address",
    [
        "https://lms.example/@tool.example",
        "https://lms.example?@tool.example",
        "https://lms.example#@tool.example/",
        "https://lms.example/\\@tool.example",
        "https://LMS.example:0443/",
        "https://lms.example:/",
    ],
)
def test_one_host_has_one_name(address: str) -> None:
    assert host_of(address) == "lms.example"
    assert urlsplit(requests.Request("GET", address).prepare().url or "").hostname == "lms.example"


def test_an_origin_is_written_as_browsers_write_it() -> None:
    assert origin_of("https://LMS.example:443/auth?x=1") == "https://lms.example"
    assert origin_of("http://[::1]:8080/") == "http://[::1]:8080"
    assert host_of("https://lms.example:8443/") == "lms.example:8443"
    assert origin_of("nowhere") == host_of("nowhere") == ""


def test_what_is_no_address_has_no_origin_in_common() -> None:
    assert same_origin("https://lms.example/1", "https://lms.example:443/2")
    assert not same_origin("https://lms.example/", "http://lms.example/")
    assert not same_origin("nowhere", "nowhere")


def test_plain_http_is_for_development_on_this_machine() -> None:
    assert is_protected("https://lms.example/", production=True)
    assert is_protected("http://localhost:8000/", production=False)
    assert not is_protected("http://localhost:8000/", production=True)
    assert not is_protected("http://lms.example/", production=False)
    assert not is_protected("https://", production=False)


def test_parameters_are_added_to_what_the_address_has() -> None:
    asked = with_query("https://moodle.example/lineitems?type_id=a%20b", resource_id="experience-1 & more")
    assert asked == "https://moodle.example/lineitems?type_id=a%20b&resource_id=experience-1+%26+more"
    assert with_query("https://canvas.example/names", limit=50) == "https://canvas.example/names?limit=50"
