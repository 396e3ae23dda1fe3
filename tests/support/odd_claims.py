"""Messages that no platform should send: every claim that the tool reads, of the wrong kind, size or spelling."""

from copy import deepcopy
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from app.lti.claims import CLAIM, DEEP_LINKING_SETTINGS, GRADES_ENDPOINT, ROSTER_ENDPOINT

TOOL_URL = "http://localhost:8000"
MEMBERSHIP = "http://purl.imsglobal.org/vocab/lis/v2/membership#"
SERVICE = "https://lms.example/service"

_ALWAYS: dict[str, Any] = {
    "sub": "1",
    "name": "Amara Diallo",
    "given_name": "Amara",
    "family_name": "Diallo",
    "email": "amara@lms.example",
    "picture": "https://lms.example/amara.png",
    "locale": "en",
    CLAIM + "version": "1.3.0",
    CLAIM + "roles": [MEMBERSHIP + "Instructor"],
    CLAIM + "context": {"id": "c", "label": "BIO", "title": "Biology", "type": ["CourseSection"]},
    CLAIM + "custom": {
        "canvas_course_id": "1101",
        "canvas_user_id": 301,
        "context_id_history": "a,b",
    },
    CLAIM + "launch_presentation": {"locale": "en", "return_url": SERVICE, "document_target": "iframe"},
    CLAIM + "tool_platform": {"guid": "g", "name": "A school", "product_family_code": "canvas"},
    CLAIM + "resource_link": {"id": "r", "title": "A link", "description": None},
    CLAIM + "for_user": {"user_id": "2", "roles": []},
    CLAIM + "lis": {"person_sourcedid": "$Person.sourcedId"},
    GRADES_ENDPOINT: {"scope": [SERVICE], "lineitems": SERVICE, "lineitem": SERVICE},
    ROSTER_ENDPOINT: {"context_memberships_url": SERVICE, "service_versions": ["2.0"]},
    DEEP_LINKING_SETTINGS: {
        "deep_link_return_url": SERVICE,
        "accept_types": ["ltiResourceLink"],
        "accept_presentation_document_targets": ["iframe"],
        "accept_multiple": True,
        "data": "opaque",
    },
}
_TARGETS = {
    "LtiResourceLinkRequest": f"{TOOL_URL}/lti/launch?experience=7",
    "LtiDeepLinkingRequest": f"{TOOL_URL}/lti/deep-link",
    "LtiSubmissionReviewRequest": f"{TOOL_URL}/lti/launch",
}
GOOD = [
    {**_ALWAYS, CLAIM + "message_type": kind, CLAIM + "target_link_uri": target}
    for kind, target in _TARGETS.items()
]
NAMES = tuple(GOOD[0])

texts = st.text(st.characters(), max_size=40) | st.sampled_from(
    [
        *("", " ", "\x00", "a\x00b", "\ud800", "\udfff\ud800", "\u202egnp", "x" * 256, "é" * 5000, "\r\n"),
        *("$Canvas.user.id", ",,,", "null", "0", "-1", "\uff19", "9" * 400, "1e999"),
        *("javascript:alert(1)", "http://", "http://[", "https://[::1", "//x", "https://x\x00", TOOL_URL),
        *(
            f"{TOOL_URL}/lti/launch?experience={'9' * 30}",
            f"{TOOL_URL}/lti/launch?experience=%00&conversation=-1",
        ),
        *("Instructor", "Learner", MEMBERSHIP, "1.3.0", *_TARGETS),
    ]
)
numbers = st.integers() | st.floats() | st.sampled_from([10**400, -(2**63), 2**64, 1e308])
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(texts, inner, max_size=5),
    max_leaves=12,
)


@st.composite
def changes(draw: st.DrawFn, names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    """Some claims, or what stands in them, of another kind."""
    changed: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(names), max_size=5, unique=True)):
        good = deepcopy(_ALWAYS.get(name))
        if isinstance(good, dict) and draw(st.booleans()):
            changed[name] = good | {draw(st.sampled_from(sorted(good))): draw(json_values)}
        elif isinstance(good, list) and draw(st.booleans()):
            changed[name] = [*good, draw(json_values)]
        else:
            changed[name] = draw(json_values)
    return changed


@st.composite
def _messages(draw: st.DrawFn) -> dict[str, Any]:
    body = draw(st.sampled_from(GOOD)) | draw(changes())
    missing = draw(st.sets(st.sampled_from(NAMES), max_size=2))
    return {name: value for name, value in body.items() if name not in missing}


messages = _messages()


def repeatable(*, max_examples: int) -> settings:
    """The same examples on every run."""
    return settings(
        max_examples=max_examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )
