"""The sandbox as tests and its own pages hold it: people, courses, tools, keys, tokens, grades, launches."""

import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypedDict, Unpack
from urllib.parse import urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from flask import Flask

from app.sandbox.claims import Launch, MessageType, launch_claims
from app.sandbox.config import STORAGE_FRAME, SandboxConfig, Storage, refuse_foreign
from app.sandbox.deep_linking import (
    DEEP_LINKING,
    RESOURCE_LINK,
    RESPONSE_CLAIMS,
    SETTINGS,
    ContentItem,
    DeepLinkingError,
    Selection,
    check_message,
    deep_linking_settings,
    read_selection,
)
from app.sandbox.directory import Directory
from app.sandbox.errors import OAuthError, ServiceError
from app.sandbox.gradebook import Gradebook, LineItem, Score
from app.sandbox.keys import SigningKeys
from app.sandbox.links import ResourceLink, ResourceLinks
from app.sandbox.people import Course, Person
from app.sandbox.placements import PLACEMENTS, Place
from app.sandbox.signed import FetchJson, OnceOnly, UntrustedError, issuer_of, read_signed
from app.sandbox.tokens import TokenStore
from app.sandbox.tools import Tool, Tools, configured_tool, new_deployment_id
from app.sandbox.traffic import Outage, RequestRecord, Traffic

EXTENSION = "sandbox"
HINT_ALGORITHM = "HS256"
# A teacher may write an experience before choosing it.
SELECTION_SECONDS = 4 * 3600
REGISTRATION_SECONDS = 3600
DEFAULT_POINTS = 10


class Absent:
    """The type of `ABSENT`."""


ABSENT = Absent()
"""Given as the value of a claim to `Sandbox.sign`, leaves the claim out."""


class LaunchOptions(TypedDict, total=False):
    """What a launch may be besides course navigation: the fields of `Launch`, people by login too."""

    target_link_uri: str | None
    document_target: str
    line_item: LineItem | None
    resource_link: ResourceLink | None
    message_type: MessageType
    placement: str | None
    for_user: Person | str | None
    masquerading: Person | str | None
    client_id: str | None
    deployment_id: str | None


class Sandbox:
    """One running Canvas look-alike, safe between threads.

    Tools, links and the gradebook are kept in the state folder; all else is in memory. ``storage`` and
    ``links_to`` may be set at any time: how platform storage behaves, and the host to which the ``Link`` headers
    of the services lead instead of the platform's own.
    """

    def __init__(self, config: SandboxConfig, *, fetch: FetchJson) -> None:
        self.config = config
        self.fetch = fetch
        self.storage: Storage = config.storage
        self.links_to: str | None = None
        self.directory = Directory()
        self.tools = Tools(configured_tool(config), config.state_dir)
        self.links = ResourceLinks(config.state_dir)
        self.gradebook = Gradebook(config.state_dir, self.links)
        self.tokens = TokenStore(config.token_seconds)
        self.keys = SigningKeys(config.state_dir)
        self.traffic = Traffic()
        self._nonces = OnceOnly()
        self._registered: set[str] = set()
        self._hint_secret = secrets.token_bytes(32)

    @property
    def scores(self) -> tuple[Score, ...]:
        """Every score that the tool has sent and the sandbox has accepted."""
        return self.gradebook.scores

    def person(self, key: str | int) -> Person:
        """Somebody by login, LTI id or Canvas id. Raises `LookupError`."""
        person = self.directory.person(key)
        if person is None:
            raise LookupError(f"Nobody is called {key}")
        return person

    def course(self, canvas_id: int) -> Course:
        """A course by its Canvas id. Raises `LookupError`."""
        course = self.directory.course(canvas_id)
        if course is None:
            raise LookupError(f"No course has the id {canvas_id}")
        return course

    def install(self, title: str = "AI Experiences", *, client_id: str | None = None) -> Tool:
        """Register the configured tool once more: another client id with a deployment of its own."""
        fresh = replace(
            self.tools.find(),
            client_id=client_id or self.tools.new_client_id(),
            title=title,
            deployment_ids=(new_deployment_id(),),
        )
        return self.tools.install(fresh)

    def copy_content(self, source: Course | int, target: Course | int) -> list[ResourceLink]:
        """Copy a course's links and their columns into another, as a course import does; once, however often."""
        source, target = self._course_of(source), self._course_of(target)
        copies = self.links.copy(source, target)
        self.gradebook.copy(source, target, copies)
        return list(copies.values())

    def launch(self, person: Person | str, course: Course | int, **options: Unpack[LaunchOptions]) -> Launch:
        """A launch, completed: a line item brings its resource link and a link its line item, both their tool."""
        course = self._course_of(course)
        item, link = options.get("line_item"), options.get("resource_link")
        if link is None and item is not None:
            link = self.links.find(course, item.resource_link_id)
        if item is None and link is not None:
            item = self.gradebook.line_item_of(link)
        owner = (link.client_id if link else None) or (item.client_id if item else None)
        launch = Launch(
            person=self._person_of(person),
            course=course,
            target_link_uri=options.get("target_link_uri") or "",
            document_target=options.get("document_target", "iframe"),
            line_item=item,
            resource_link=link,
            message_type=options.get("message_type", MessageType.RESOURCE_LINK),
            placement=options.get("placement"),
            for_user=self._person_or_none(options.get("for_user")),
            masquerading=self._person_or_none(options.get("masquerading")),
            client_id=options.get("client_id") or owner,
            deployment_id=options.get("deployment_id"),
        )
        return replace(launch, target_link_uri=launch.target_link_uri or self._target_of(launch))

    def launch_claims(
        self,
        person: Person | str,
        course: Course | int,
        *,
        nonce: str,
        **options: Unpack[LaunchOptions],
    ) -> dict[str, Any]:
        """The claims of a good launch, to be signed as they are or changed first."""
        return self.claims_of(self.launch(person, course, **options), nonce=nonce)

    def claims_of(self, launch: Launch, *, nonce: str) -> dict[str, Any]:
        """The claims of a launch."""
        tool = self.tools.find(launch.client_id)
        claims = launch_claims(launch, nonce=nonce, tool=tool, config=self.config, directory=self.directory)
        if launch.message_type is MessageType.DEEP_LINKING:
            claims[SETTINGS] = self._deep_linking_settings(launch)
        return claims

    def sign(
        self,
        claims: Mapping[str, Any],
        *,
        headers: Mapping[str, Any] | None = None,
        private_key: rsa.RSAPrivateKey | str | None = None,
        algorithm: str = "RS256",
        **overrides: object,
    ) -> str:
        """An id token of these claims. Good by default; each argument is a way to make a bad one.

        ``overrides`` replace claims, and `ABSENT` removes them; ``headers`` replace fields of the token's
        header, and None removes them; another key or algorithm makes a forgery.
        """
        payload = {name: value for name, value in {**claims, **overrides}.items() if value is not ABSENT}
        header = {"kid": self.keys.kid, **(headers or {})}
        key = private_key or (self.keys.current if algorithm.startswith("RS") else "")
        present = {name: value for name, value in header.items() if value is not None}
        return jwt.encode(payload, key, algorithm=algorithm, headers=present)

    def login_parameters(self, launch: Launch, *, storage: Storage | None = None) -> dict[str, str]:
        """The third-party login initiation that opens a launch, as Canvas posts it."""
        tool = self.tools.find(launch.client_id)
        deployment_id = launch.deployment_id or tool.deployment_id
        storage = storage or self.storage
        offered = {} if storage is Storage.OFF else {"lti_storage_target": STORAGE_FRAME}
        return {
            "iss": self.config.issuer,
            "login_hint": launch.person.lti11_id,
            "client_id": tool.client_id,
            "lti_deployment_id": deployment_id,
            "deployment_id": deployment_id,
            "target_link_uri": launch.target_link_uri,
            "lti_message_hint": self.message_hint(launch, storage=storage),
            "canvas_environment": "prod",
            "canvas_region": "not_configured",
            **offered,
        }

    def message_hint(self, launch: Launch, *, storage: Storage | None = None) -> str:
        """What a launch is about, signed for the way through the tool and back, and good for minutes only."""
        hint = {
            "sub": launch.person.login,
            "course_id": launch.course.canvas_id,
            "target_link_uri": launch.target_link_uri,
            "document_target": launch.document_target,
            "line_item_id": launch.line_item and launch.line_item.id,
            "resource_link_id": launch.resource_link and launch.resource_link.id,
            "message_type": launch.message_type,
            "placement": launch.placement,
            "for_user": launch.for_user and launch.for_user.login,
            "masquerading": launch.masquerading and launch.masquerading.login,
            "client_id": launch.client_id,
            "deployment_id": launch.deployment_id,
            "storage": storage or self.storage,
        }
        return self._seal("launch", hint, self.config.hint_seconds)

    def read_hint(self, hint: str) -> tuple[Launch, Storage]:
        """The launch of a message hint. Raises `OAuthError` where it is old, altered or not ours."""
        try:
            content = self._unseal("launch", hint)
            course = self.course(content["course_id"])
            item_id = content["line_item_id"]
            launch = Launch(
                person=self.person(content["sub"]),
                course=course,
                target_link_uri=content["target_link_uri"],
                document_target=content["document_target"],
                line_item=self.gradebook.line_item(course, item_id) if item_id else None,
                resource_link=self.links.find(course, content["resource_link_id"]),
                message_type=MessageType(content["message_type"]),
                placement=content["placement"],
                for_user=self._person_or_none(content["for_user"]),
                masquerading=self._person_or_none(content["masquerading"]),
                client_id=content["client_id"],
                deployment_id=content["deployment_id"],
            )
        except (jwt.PyJWTError, LookupError, ServiceError) as error:
            raise OAuthError(
                "launch_no_longer_valid", "The launch has expired. Open the tool again."
            ) from error
        return launch, Storage(content["storage"])

    def read_deep_linking_response(self, token: str) -> tuple[Launch, Selection]:
        """What a tool returns, with the request that it answers. Raises `DeepLinkingError` for any fault."""
        try:
            tool = self.tools.find(issuer_of(token))
            claims = read_signed(
                token,
                tool=tool,
                audience=self.config.issuer,
                require=RESPONSE_CLAIMS,
                fetch=self.fetch,
            )
        except (UntrustedError, LookupError) as error:
            raise DeepLinkingError(f"the token is not valid: {error}") from error
        request = self._answered(claims, tool)
        check_message(claims, deployment_id=request.deployment_id or tool.deployment_id)
        if not self._nonces.take(f"{tool.client_id} {claims['nonce']}", float(claims["exp"])):
            raise DeepLinkingError("the nonce has been used before")
        return request, read_selection(claims, placement=PLACEMENTS[request.placement or ""], tool=tool)

    def add_content(self, request: Launch, selection: Selection) -> list[ResourceLink]:
        """Put what a teacher has chosen into the course: links, and columns where they belong to them."""
        return [self._add_item(request, item) for item in selection.items]

    def registration_url(self, url: str) -> str:
        """A tool's registration URL with what it needs to register itself once, within the hour.

        Raises `SandboxRefusedError` for a tool that is not on this machine.
        """
        refuse_foreign("tool", url)
        token = self._seal("registration", {"jti": secrets.token_urlsafe(8)}, REGISTRATION_SECONDS)
        query = {"openid_configuration": self.config.metadata_url, "registration_token": token}
        return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode(query)}"

    def check_registration_token(self, token: str, *, use: bool = False) -> None:
        """Raise `OAuthError` 401 unless the token is good and not used; ``use`` it for the one registration."""
        try:
            content = self._unseal("registration", token)
            fresh = content["jti"] not in self._registered
        except jwt.PyJWTError:
            fresh = False
        if not fresh:
            raise OAuthError("invalid_token", "The registration token is not good.", status=401)
        if use:
            self._registered.add(content["jti"])

    def save(self) -> None:
        """Write what outlives a restart now; it is written soon after every change in any case."""
        for kept in (self.tools, self.links, self.gradebook):
            kept.save()

    @property
    def requests(self) -> tuple[RequestRecord, ...]:
        """The requests that have come since the start or the last `traffic.clear()`, oldest first."""
        return self.traffic.requests

    def fail_next(
        self,
        status: int | None,
        *,
        times: int = 1,
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
        path_contains: str = "",
        method: str | None = None,
        delay: float = 0,
    ) -> None:
        """Make the next service requests fail: tokens, keys, metadata, registration, roster and grades.

        Only those whose path holds ``path_contains`` and whose method is ``method`` are concerned. They are
        answered after ``delay`` seconds with ``status``, ``headers`` and ``body`` (an error as JSON unless it is
        given); without a status they are slow and then answered as ever.
        """
        outage = Outage(status, dict(headers or {}), body, path_contains, method, delay)
        self.traffic.schedule(outage, times)

    def _target_of(self, launch: Launch) -> str:
        tool = self.tools.find(launch.client_id)
        review = (launch.line_item.submission_review if launch.line_item else None) or {}
        if launch.message_type is MessageType.DEEP_LINKING:
            return tool.placements[launch.placement or ""]
        if launch.message_type is MessageType.SUBMISSION_REVIEW and review.get("url"):
            return str(review["url"])
        return (launch.resource_link.url if launch.resource_link else "") or tool.target_link_uri

    def _deep_linking_settings(self, launch: Launch) -> dict[str, Any]:
        request = {
            "sub": launch.person.login,
            "course_id": launch.course.canvas_id,
            "placement": launch.placement,
            "client_id": self.tools.find(launch.client_id).client_id,
            "deployment_id": launch.deployment_id,
            "jti": secrets.token_urlsafe(8),
        }
        back = f"/courses/{launch.course.canvas_id}/deep_linking_response?as={launch.person.login}"
        return deep_linking_settings(
            PLACEMENTS[launch.placement or ""],
            return_url=f"{self.config.url}{back}",
            data=self._seal("deep_linking", request, SELECTION_SECONDS),
        )

    def _answered(self, claims: Mapping[str, Any], tool: Tool) -> Launch:
        try:
            content = self._unseal("deep_linking", str(claims.get(f"{DEEP_LINKING}/data", "")))
        except jwt.PyJWTError as error:
            raise DeepLinkingError("data is missing, altered, or of a request that is too old") from error
        if content["client_id"] != tool.client_id:
            raise DeepLinkingError("data is that of another tool")
        return self.launch(
            content["sub"],
            content["course_id"],
            message_type=MessageType.DEEP_LINKING,
            placement=content["placement"],
            client_id=content["client_id"],
            deployment_id=content["deployment_id"],
        )

    def _add_item(self, request: Launch, item: ContentItem) -> ResourceLink:
        place = PLACEMENTS[request.placement or ""].place
        link = self.links.add(
            request.course,
            title=item.title,
            url=item.url,
            place=place,
            text=item.text,
            custom=item.custom,
            client_id=request.client_id,
            launches=item.type == RESOURCE_LINK,
        )
        default = (
            {"label": item.title, "score_maximum": DEFAULT_POINTS} if place is Place.ASSIGNMENTS else None
        )
        column = item.line_item or default
        if column:
            fields = {**column, "resource_link_id": link.id, "client_id": request.client_id}
            self.gradebook.add_line_item(request.course, fields)
        return link

    def _seal(self, purpose: str, content: Mapping[str, Any], seconds: int) -> str:
        sealed = {**content, "aud": purpose, "exp": int(time.time()) + seconds}
        return jwt.encode(sealed, self._hint_secret, algorithm=HINT_ALGORITHM)

    def _unseal(self, purpose: str, sealed: str) -> dict[str, Any]:
        return dict(jwt.decode(sealed, self._hint_secret, algorithms=[HINT_ALGORITHM], audience=purpose))

    def _person_of(self, person: Person | str) -> Person:
        return self.person(person) if isinstance(person, str) else person

    def _person_or_none(self, person: Person | str | None) -> Person | None:
        return None if person is None else self._person_of(person)

    def _course_of(self, course: Course | int) -> Course:
        return self.course(course) if isinstance(course, int) else course


def sandbox_of(app: Flask) -> Sandbox:
    """The sandbox that an application serves."""
    sandbox: Sandbox = app.extensions[EXTENSION]
    return sandbox
