"""The launch: `/lti/launch` (LTI Core 1.3, section 5; LTI Security Framework 1.1, section 5.1)."""

import base64
import hmac
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask
from sqlmodel import select, update

from app.courses.models import Course, User
from app.database import utc_now
from app.lti.claims import GRADES_ENDPOINT, ROSTER_ENDPOINT
from app.lti.models import Login
from app.sandbox import ABSENT, Storage
from app.sandbox.keys import public_jwk
from tests.lti_certification.vocabulary import (
    CLAIM,
    INSTITUTION,
    MEMBERSHIP,
    STUDENT,
    TEACHER,
    Browser,
    FromNow,
    Platform,
    Tool,
    accepted,
    asked,
    cases,
    on_both_databases,
    refused,
)

CLIENT_ID = "10000000000007"
ANOTHER_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
LONG = "x" * 10_000
HOSTILE_TEXTS = {
    "HTML": "<b>bold</b>",
    "scripts": "<script>alert(1)</script>",
    "right-to-left marks": "\u202egnp.exe",
    "10,000 characters": LONG,
    "NUL": "a\x00b",
    "half a surrogate pair": "a\ud800b",
}


# What is accepted.

ACCEPTED: dict[str, dict[str, Any]] = {
    "student": {},
    "several roles": {CLAIM + "roles": [MEMBERSHIP + "Learner", MEMBERSHIP + "Mentor"]},
    "short-form roles": {CLAIM + "roles": ["Learner"]},
    "full-URI roles": {CLAIM + "roles": [MEMBERSHIP + "Learner"]},
    "unknown extra roles beside a known one": {
        CLAIM + "roles": ["urn:x#Wizard", MEMBERSHIP + "Learner", 7, None]
    },
    "extra unknown claims": {
        "https://example.org/else": [{"a": None}],
        "hd": 1,
        CLAIM + "new": {"deep": [[]]},
    },
    "aud a list that holds our client id": {"aud": [CLIENT_ID], "azp": ABSENT},
    "several aud and azp ours": {"aud": ["another", CLIENT_ID], "azp": CLIENT_ID},
    "exp 30 s past, within the leeway": {"exp": FromNow(-30)},
    "iat 30 s in the future, within the leeway": {"iat": FromNow(30), "exp": FromNow(3600)},
    "iat almost an hour old": {"iat": FromNow(-3500)},
    "exp and iat with a fraction": {"iat": FromNow(0.5), "exp": FromNow(600.5)},
    "return_url with javascript:": {CLAIM + "launch_presentation": {"return_url": "javascript:alert(1)"}},
    "return_url with data:": {CLAIM + "launch_presentation": {"return_url": "data:text/html,x"}},
    "picture with javascript:": {"picture": "javascript:alert(1)"},
    "picture with data:": {"picture": "data:image/svg+xml,<svg/>"},
}
OPTIONAL = (
    *("azp", "name", "given_name", "family_name", "email", "picture", "locale"),
    *(
        CLAIM + name
        for name in (
            "custom",
            "launch_presentation",
            "lis",
            "lti1p1",
            "tool_platform",
            "lti11_legacy_user_id",
        )
    ),
    "https://purl.imsglobal.org/spec/lti-ags/claim/endpoint",
    "https://purl.imsglobal.org/spec/lti-nrps/claim/namesroleservice",
    "https://www.instructure.com/placement",
)


@on_both_databases
@pytest.mark.parametrize("who", [TEACHER, STUDENT], ids=["teacher", "student"])
def test_valid_launch_is_accepted(browser: Browser, who: str) -> None:
    browser.enter(who)


@cases("changes", ACCEPTED)
def test_launch_is_accepted_with(browser: Browser, changes: dict[str, Any]) -> None:
    page = browser.enter(**changes).page()
    assert "javascript:" not in str(page)
    assert "data:" not in str(page)


WITHOUT_SERVICES = {GRADES_ENDPOINT: ABSENT, ROSTER_ENDPOINT: ABSENT}
CUSTOM: dict[str, tuple[object, str | None]] = {
    "unresolved, as absent": ("$Canvas.course.id", None),
    "a number as text": ("1101", "1101"),
    "a number": (1101, "1101"),
    "null": (None, None),
    "empty": ("", None),
    "of another kind": ({"id": 1101}, None),
}


@cases(("sent", "kept"), CUSTOM)
def test_custom_variables_are_accepted(browser: Browser, tool: Tool, sent: object, kept: str | None) -> None:
    browser.enter(**{CLAIM + "custom": {"canvas_course_id": sent, "canvas_user_id": sent}} | WITHOUT_SERVICES)
    with tool.database.snapshot() as db:
        assert db.exec(select(Course.canvas_course_id)).one() == kept
        assert db.exec(select(User.canvas_user_id)).one() == kept


def test_ids_are_not_taken_from_a_link_on_which_a_teacher_may_have_planted_them(
    browser: Browser, tool: Tool
) -> None:
    planted = {"canvas_course_id": 999, "canvas_user_id": 999}
    browser.enter(**{CLAIM + "custom": planted, CLAIM + "resource_link": {"id": "a link in a module"}})
    with tool.database.snapshot() as db:
        assert db.exec(select(User.canvas_user_id)).one() is None
        assert db.exec(select(Course.canvas_course_id)).one() == "1101", "from the services' addresses"


@pytest.mark.parametrize("value", [ABSENT, None, "", 7, [], {}], ids=["absent", "null", "", "7", "[]", "{}"])
def test_launch_is_accepted_with_optional_claims(browser: Browser, value: object) -> None:
    names = [name for name in OPTIONAL if name != "azp" or value in (ABSENT, None)]
    browser.enter(**dict.fromkeys(names, value))


def test_only_required_claims_are_enough_and_shown_as_a_short_code(browser: Browser) -> None:
    context = {"id": browser.platform.sandbox.course(1101).context_id}
    bare = {**dict.fromkeys(OPTIONAL, ABSENT), CLAIM + "context": context}
    browser.enter(**bare)
    teacher = browser.enter(TEACHER, **bare)
    rows = teacher.page(f"/experiences/{teacher.write_experience()}").select("[data-testid=student-row] th")
    assert [row.text.split()[0] for row in rows] == ["Student"]


@cases("text", HOSTILE_TEXTS)
def test_names_titles_and_labels_are_shown_as_text(browser: Browser, text: str) -> None:
    context = {"id": browser.platform.sandbox.course(1101).context_id, "title": text, "label": text}
    hostile = {
        "name": text,
        "locale": text,
        CLAIM + "context": context,
        CLAIM + "resource_link": {"id": "1", "title": text},
        CLAIM + "tool_platform": {"name": text},
    }
    browser.enter(**hostile)
    teacher = browser.enter(TEACHER, **hostile)
    for page in (teacher.page(), teacher.page(f"/experiences/{teacher.write_experience()}")):
        assert page.select("b, script:not([src])") == []
        assert not set("\u202e\x00\ud800") & set(str(page))
        assert LONG[:300] not in page.text


def test_jku_jwk_and_x5u_are_ignored_and_never_fetched(browser: Browser, another_platform: Platform) -> None:
    elsewhere = another_platform.sandbox.config.key_set_url
    foreign = another_platform.sandbox.keys
    for pointer in ({"jku": elsewhere}, {"x5u": elsewhere}, {"jwk": public_jwk(foreign.current)}):
        browser.enter(headers=pointer)
        forged = browser.launch(private_key=foreign.current, headers={"kid": foreign.kid, **pointer})
        refused(forged, "no key")
    assert another_platform.sandbox.requests == ()


# What is refused: the token.

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "aud without us": ({"aud": "another"}, "Audience"),
    "aud a list without us": ({"aud": ["another", "third"], "azp": CLIENT_ID}, "Audience"),
    "aud missing": ({"aud": ABSENT}, "aud"),
    "several aud with azp missing": ({"aud": [CLIENT_ID, "another"], "azp": ABSENT}, "azp"),
    "several aud with azp null": ({"aud": [CLIENT_ID, "another"], "azp": None}, "azp"),
    "several aud with another's azp": ({"aud": [CLIENT_ID, "another"], "azp": "another"}, "azp"),
    "one aud with another's azp": ({"azp": "another"}, "azp"),
    "iss another's": ({"iss": "https://elsewhere.example"}, "issuer"),
    "iss missing": ({"iss": ABSENT}, "iss"),
    "alg none": ({"algorithm": "none"}, "alg"),
    "HS256": ({"algorithm": "HS256", "private_key": "x" * 64}, "alg"),
    "RS256 by an unpublished key": ({"private_key": ANOTHER_KEY}, "Signature"),
    "RS512": ({"algorithm": "RS512"}, "alg"),
    "no kid": ({"headers": {"kid": None}}, "no kid"),
    "unknown kid": ({"headers": {"kid": "another"}}, "no key"),
    "exp past": ({"exp": FromNow(-90)}, "expired"),
    "exp missing": ({"exp": ABSENT}, "exp"),
    "exp not a number": ({"exp": "soon"}, "exp"),
    "exp a number as text": ({"exp": str(int(time.time()) + 600)}, "exp"),
    "exp null": ({"exp": None}, "exp"),
    "exp a number that JSON lacks": ({"exp": float("nan")}, "JSON"),
    "any claim a number that JSON lacks": ({"name": [float("inf")]}, "JSON"),
    "iat in the future": ({"iat": FromNow(600)}, "iat"),
    "iat older than 1 hour": ({"iat": FromNow(-3700)}, "hour"),
    "iat lower than any float": ({"iat": -(10**400)}, "hour"),
    "iat below any float": ({"iat": -(10**400)}, "hour"),
    "iat missing": ({"iat": ABSENT}, "iat"),
    "iat not a number": ({"iat": [1]}, ""),
    "iat true": ({"iat": True}, "number"),
    "nbf in the future": ({"nbf": FromNow(600)}, "nbf"),
    "nonce missing": ({"nonce": ABSENT}, "nonce"),
    "nonce unknown": ({"nonce": "another"}, "nonce"),
    "version missing": ({CLAIM + "version": ABSENT}, "version"),
    "version not 1.3.0": ({CLAIM + "version": "1.1"}, "version"),
    "message_type missing": ({CLAIM + "message_type": ABSENT}, "message_type"),
    "message_type unknown": ({CLAIM + "message_type": "LtiWizardRequest"}, "message_type"),
    "message_type an object": ({CLAIM + "message_type": {}}, "message_type"),
    "target_link_uri missing": ({CLAIM + "target_link_uri": ABSENT}, "target_link_uri"),
    "target_link_uri foreign": ({CLAIM + "target_link_uri": "https://elsewhere.example/"}, "target_link_uri"),
    "deployment_id missing": ({CLAIM + "deployment_id": ABSENT}, "deployment_id"),
    "deployment_id not a string": ({CLAIM + "deployment_id": 7}, "deployment_id"),
    "deployment_id unknown": ({CLAIM + "deployment_id": "another"}, "'another'"),
    "resource_link missing": ({CLAIM + "resource_link": ABSENT}, "resource_link"),
    "resource_link.id missing": ({CLAIM + "resource_link": {"title": "x"}}, "resource_link"),
    "context missing": ({CLAIM + "context": ABSENT}, "context"),
    "roles missing": ({CLAIM + "roles": ABSENT}, "roles"),
    "roles not a list": ({CLAIM + "roles": "Learner"}, "roles"),
    "roles an empty list": ({CLAIM + "roles": []}, "roles"),
    "an Instructor of a vocabulary that is not LIS": (
        {CLAIM + "roles": ["urn:someone/else#Instructor"]},
        "roles",
    ),
    "roles of the institution alone": ({CLAIM + "roles": [INSTITUTION + "Instructor"]}, "roles"),
    "sub missing": ({"sub": ABSENT}, "sub"),
    "sub empty": ({"sub": ""}, "sub"),
    "sub longer than 255": ({"sub": "x" * 256}, "sub"),
    "sub not ASCII": ({"sub": "Zoë"}, "sub"),
}


@cases(("changes", "because"), REFUSED)
def test_launch_is_refused_for(browser: Browser, changes: dict[str, Any], because: str) -> None:
    refused(browser.launch(**changes), because)


SENTENCES: dict[str, tuple[dict[str, Any], str]] = {
    "roles missing": ({CLAIM + "roles": ABSENT}, "did not say which role"),
    "roles not a list": ({CLAIM + "roles": "Learner"}, "did not say which role"),
    "roles an empty list": ({CLAIM + "roles": []}, "did not say which role"),
    "roles that are not known": ({CLAIM + "roles": ["urn:x#Wizard"]}, "not one that AI Experiences knows"),
    "deployment_id missing": ({CLAIM + "deployment_id": ABSENT}, "verified, but its claim deployment_id"),
    "deployment_id longer than 255": (
        {CLAIM + "deployment_id": "x" * 256},
        "verified, but its claim deployment_id",
    ),
    "target_link_uri missing": (
        {CLAIM + "target_link_uri": ABSENT},
        "verified, but its claim target_link_uri",
    ),
    "target_link_uri not the login's": (
        {CLAIM + "target_link_uri": "https://elsewhere.example/"},
        "verified, but its claim target_link_uri",
    ),
    "context.id longer than 255": ({CLAIM + "context": {"id": "x" * 256}}, "verified, but its claim context"),
    "resource_link.id longer than 255": (
        {CLAIM + "resource_link": {"id": "x" * 256}},
        "verified, but its claim resource_link",
    ),
}


@cases(("changes", "sentence"), SENTENCES)
def test_the_page_says_what_is_wrong_with(browser: Browser, changes: dict[str, Any], sentence: str) -> None:
    page = refused(browser.launch(**changes)).text
    assert sentence in page
    assert "did not verify" not in page


def test_refused_for_iss_ours_signed_by_another_registered_platforms_key(
    browser: Browser, another_platform: Platform
) -> None:
    keys = another_platform.sandbox.keys
    refused(browser.launch(private_key=keys.current, headers={"kid": keys.kid}), "no key")


def test_refused_for_hs256_signed_with_the_public_key(browser: Browser, platform: Platform) -> None:
    pem = platform.sandbox.keys.current.public_key().public_bytes(
        Encoding.PEM, PublicFormat.SubjectPublicKeyInfo
    )

    def forge(token: str) -> str:
        header = _part({"alg": "HS256", "typ": "JWT", "kid": platform.sandbox.keys.kid})
        signed = f"{header}.{token.split('.')[1]}"
        return f"{signed}.{_base64(hmac.digest(pem, signed.encode(), 'sha256'))}"

    refused(_launch_with(browser, forge), "alg")


def _part(value: object) -> str:
    return _base64(json.dumps(value).encode())


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _launch_with(browser: Browser, forge: Callable[[str], str]) -> Any:
    form = _form(browser)
    return browser.finish(form | {"id_token": forge(form["id_token"])})


def _form(browser: Browser) -> dict[str, str]:
    """Return the form of a good launch, about to be posted."""
    return browser.authorize(browser.begin(browser.platform.login()))


FORGED: dict[str, Callable[[str], str]] = {
    "signature stripped": lambda token: token.rpartition(".")[0] + ".",
    "signature changed": lambda token: token[:-8] + ("AAAAAAAA" if token[-8:] != "AAAAAAAA" else "BBBBBBBB"),
    "claims changed under the signature": lambda token: ".".join(
        (token.split(".")[0], _part(_claims(token) | {"sub": "another"}), token.split(".")[2])
    ),
    "header not an object": lambda token: ".".join((_part([]), *token.split(".")[1:])),
    "claims not an object": lambda token: ".".join((token.split(".")[0], _part([]), token.split(".")[2])),
    "numbers without end": lambda token: ".".join(
        (token.split(".")[0], _base64(b'{"name": 1e400}'), token.split(".")[2])
    ),
    "nested without end": lambda token: ".".join(
        (token.split(".")[0], _base64(b"[" * 30_000), token.split(".")[2])
    ),
}


def _claims(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


@cases("forge", FORGED)
def test_launch_is_refused_for_a_token_with(browser: Browser, forge: Callable[[str], str]) -> None:
    refused(_launch_with(browser, forge))


# What is refused: the answer that is none, each with its own sentence.

NO_TOKEN: dict[str, Callable[[dict[str, str]], Any]] = {
    "id_token not three parts": lambda form: form | {"id_token": "a.b"},
    "id_token not base64": lambda form: form | {"id_token": "a.b.c"},
    "id_token not JSON": lambda form: form | {"id_token": f"{_base64(b'x')}.{_base64(b'y')}.e30"},
    "id_token 1 MB long": lambda form: form | {"id_token": "x" * 1_000_000},
    "id_token missing": lambda form: {"state": form["state"]},
    "id_token posted twice": lambda form: [*form.items(), ("id_token", form["id_token"])],
    "error posted by the platform instead": lambda form: {"error": "login_required", "state": form["state"]},
}


@cases("spoil", NO_TOKEN)
def test_launch_is_refused_for_an(browser: Browser, spoil: Callable[[dict[str, str]], Any]) -> None:
    refused(browser.finish(spoil(_form(browser))))


def test_launch_is_refused_for_get_instead_of_post(browser: Browser) -> None:
    refused(browser.visit("/lti/launch"), "GET")


def test_each_answer_that_is_no_token_has_a_sentence_of_its_own(browser: Browser) -> None:
    pages = [refused(browser.finish(spoil(_form(browser)))) for spoil in NO_TOKEN.values()]
    pages.append(refused(browser.visit("/lti/launch")))
    sentences = [str(page.select_one("[data-testid=administrator-message]")) for page in pages]
    assert len(set(sentences)) == len(NO_TOKEN) + 1


# What is refused: the state.


@pytest.mark.parametrize(
    "state", ["", "another", "\x00", "x" * 100_000], ids=["missing", "unknown", "NUL", "long"]
)
def test_launch_is_refused_for_state(browser: Browser, state: str) -> None:
    refused(browser.finish(_form(browser) | {"state": state}))


def test_launch_is_refused_for_a_state_that_is_not_posted(browser: Browser) -> None:
    form = _form(browser)
    refused(browser.finish({"id_token": form["id_token"]}), "state")


@on_both_databases
def test_the_same_form_posted_again_begins_no_second_session(browser: Browser) -> None:
    form = _form(browser)
    accepted(browser.finish(form))
    page = refused(browser.finish(form), "used before")
    assert "open AI Experiences again" in page.text


def test_launch_is_refused_for_a_nonce_used_before_under_a_fresh_state(browser: Browser) -> None:
    first = _form(browser)
    accepted(browser.finish(first))
    fresh = _form(browser)
    refused(browser.finish(fresh | {"id_token": first["id_token"]}), "nonce")


def test_launch_is_refused_for_a_nonce_issued_for_another_platform(
    browser: Browser, tool: Tool, another_platform: Platform
) -> None:
    elsewhere = asked(browser.begin(another_platform.login()))
    refused(browser.launch(nonce=elsewhere["nonce"]), "nonce")


def test_launch_is_refused_for_a_state_issued_for_another_platform(
    browser: Browser, another_platform: Platform
) -> None:
    elsewhere = asked(browser.begin(another_platform.login()))
    form = _form(browser)
    refused(browser.finish(form | {"state": elsewhere["state"]}))


@on_both_databases
def test_launch_is_refused_for_a_state_older_than_10_minutes(browser: Browser, tool: Tool) -> None:
    form = _form(browser)
    with tool.database.transaction() as db:
        db.execute(update(Login).values(created_at=utc_now() - timedelta(minutes=10, seconds=1)))
    refused(browser.finish(form), "too old")


def test_launch_is_refused_for_a_state_from_another_browser_with_no_cookie(
    browser: Browser, tool: Tool
) -> None:
    form = browser.authorize(browser.begin(browser.platform.login(storage=Storage.OFF)))
    refused(Browser(tool, browser.platform).finish(form))
    accepted(browser.finish(form))


def test_launch_is_refused_for_a_state_from_another_browser_with_a_wrong_secret(
    browser: Browser, tool: Tool
) -> None:
    form = browser.authorize(browser.begin(browser.platform.login(storage=Storage.OFFERED)))
    refused(Browser(tool, browser.platform).fill_in("/lti/launch", form | {"secret": "a guess"}))
    accepted(browser.finish(form))


@on_both_databases
def test_two_workers_accept_the_same_form_once(
    browser: Browser, tool: Tool, another_worker: Callable[[], Flask], serve: Callable[[Flask], str]
) -> None:
    workers = [tool.url, serve(another_worker())]
    form = _form(browser)
    windows = [(browser.twin(), workers[number % 2]) for number in range(6)]
    with ThreadPoolExecutor(len(windows)) as pool:
        answers = list(pool.map(lambda window: window[0].finish(form, at=window[1]), windows))
    assert sorted(answer.response.status_code for answer in answers) == [303, 401, 401, 401, 401, 401]
    assert tool.launches() == 1


# What changes from one launch to the next.


def test_a_teacher_last_time_who_is_a_student_now_has_the_new_role_at_once(browser: Browser) -> None:
    before = browser.enter(TEACHER)
    assert before.get("/experiences/new").status_code == 200
    after = browser.enter(TEACHER, **{CLAIM + "roles": [MEMBERSHIP + "Learner"]})
    assert after.get("/experiences/new").status_code == 403
    ended = before.get("/experiences/new")
    assert ended.status_code == 401
    assert "Your role in this course has changed" in ended.text


def test_several_clients_at_one_issuer_share_no_course_and_no_person(
    browser: Browser, platform: Platform, tool: Tool
) -> None:
    another = platform.sandbox.install()
    tool.register(platform, another)
    browser.enter(TEACHER).write_experience()
    elsewhere = accepted(browser.launch(platform.login(TEACHER, client_id=another.client_id)))
    assert elsewhere.page().select("[data-testid=experience]") == []
