"""How a deep linking request is read."""

import pytest

from app.courses.models import Course, Role, User
from app.identity import Identity
from app.lti.deep_linking.service import UnsafeReturnError, read_request
from app.lti.models import Launch

TEACHER = Identity(user=User(sub="1"), course=Course(context_id="1"), role=Role.TEACHER)


def request_to(address: str, **settings: object) -> Launch:
    return Launch(deep_linking={"deep_link_return_url": address, "accept_types": [], **settings})


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8100/back", "http://localhost/back", "http://[::1]/back"]
)
def test_plain_http_is_for_this_machine_in_development(address: str) -> None:
    assert read_request(request_to(address), TEACHER, production=False).return_url == address
    with pytest.raises(UnsafeReturnError):
        read_request(request_to(address), TEACHER, production=True)


@pytest.mark.parametrize("production", [True, False])
def test_https_is_fine_everywhere(production: bool) -> None:
    address = "https://school.example/courses/1/deep_linking_response?modal=true"
    assert read_request(request_to(address), TEACHER, production=production).return_url == address


@pytest.mark.parametrize(
    ("said", "read"),
    [(True, True), ("true", True), (False, False), ("false", False), (1, False), ({}, False)],
)
def test_whether_several_are_taken_is_read_from_booleans_and_their_names(said: object, read: bool) -> None:
    launch = request_to("https://school.example/", accept_multiple=said)
    assert read_request(launch, TEACHER, production=True).takes_several is read
