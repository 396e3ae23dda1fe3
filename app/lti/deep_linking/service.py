"""Choosing experiences for a course: what a platform asks for, and what it is answered (LTI Deep Linking 2.0)."""

import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast

import jwt
from flask_babel import lazy_gettext as _l
from pylti1p3.deep_link import DeepLink, TDeepLinkData
from pylti1p3.deep_link_resource import DeepLinkResource
from pylti1p3.lineitem import LineItem
from sqlmodel import Session

from app.errors import BadRequestError, NotFoundError
from app.experiences.models import Experience, WorkflowState
from app.experiences.service import set_workflow_state
from app.identity import Identity, Right
from app.lti import tool
from app.lti.addresses import is_protected
from app.lti.keys import ALGORITHM, KeyRing
from app.lti.models import Deployment, Launch, Platform
from app.lti.refusals import WritersOnlyError
from app.lti.registration.platforms import to_registration
from app.lti.services.grades import LINE_ITEM_TAG, resource_id_of
from app.markdown import plain_text
from app.text import clean_line

CLAIM = "https://purl.imsglobal.org/spec/lti-dl/claim/"
RESOURCE_LINK = "ltiResourceLink"
ANSWER_SECONDS = 300
MAX_SUMMARY = 300


class LinksNotTakenError(BadRequestError):
    """A request for other things than links to a tool."""

    code = "links_not_taken"
    title = _l("Nothing can be added here")
    message = _l(
        "AI Experiences adds links to its experiences, and the place that you came from takes none. "
        "Add one as an assignment or in a module instead."
    )
    template = "lti/deep_link_refused.html"


class UnsafeReturnError(BadRequestError):
    """A request to be answered at an address that is not safe."""

    code = "unsafe_return"
    title = _l("Nothing can be added here")
    message = _l(
        "The learning platform wants its answer at an address that is not encrypted. "
        "Tell its administrators that deep_link_return_url must begin with https."
    )


class DocumentTarget(StrEnum):
    """How a link may be shown (section 4.4.1), the preferred first."""

    IFRAME = "iframe"
    WINDOW = "window"


@dataclass(frozen=True, slots=True)
class LinkRequest:
    """What a platform asks for (section 4.4.1).

    ``takes_line_items`` is None where it does not say; ``settings`` are its own words.
    """

    return_url: str
    takes_links: bool
    takes_several: bool
    takes_line_items: bool | None
    target: DocumentTarget | None
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Choice:
    """What a teacher has chosen. ``points`` is what each is graded out of, None where it is not graded."""

    experiences: Sequence[Experience]
    points: float | None = None
    publishes: bool = False


class Answers:
    """Signs what goes back to platforms."""

    def __init__(self, key_ring: KeyRing, app_url: str) -> None:
        self._key_ring, self._app_url = key_ring, app_url

    def choose(
        self, session: Session, identity: Identity, launch: Launch, request: LinkRequest, choice: Choice
    ) -> str:
        """Publish where that is wished, and return a message that adds the chosen experiences to the course.

        It may be given anew as often as somebody asks.
        """
        if choice.publishes:
            for experience in choice.experiences:
                if not experience.published:
                    set_workflow_state(session, identity, experience.id, WorkflowState.PUBLISHED)
        links = [_Link(experience, request, choice, self._app_url) for experience in choice.experiences]
        return self._sign(session, launch, request, links)

    def cancel(self, session: Session, launch: Launch, request: LinkRequest) -> str:
        """Return a message that adds nothing; it says why where the platform takes no links."""
        reason = None if request.takes_links else str(LinksNotTakenError.message)
        return self._sign(session, launch, request, [], reason)

    def _sign(
        self,
        session: Session,
        launch: Launch,
        request: LinkRequest,
        links: Sequence["_Link"],
        reason: str | None = None,
    ) -> str:
        platform = session.get_one(Platform, launch.platform_id)
        deployment = session.get_one(Deployment, launch.deployment_id)
        answer = DeepLink(
            to_registration(platform), deployment.deployment_id, cast(TDeepLinkData, request.settings)
        )
        message = answer.get_message_jwt(links)
        # pylti1p3 allows ten minutes, puts the machine's address into the nonce, and answers no data with null.
        message |= {"exp": int(time.time()) + ANSWER_SECONDS, "nonce": secrets.token_urlsafe(24)}
        if request.settings.get("data") is None:
            del message[CLAIM + "data"]
        if reason:
            message[CLAIM + "errormsg"] = reason
        key = self._key_ring.signing_key(platform.private_key_file)
        return jwt.encode(message, key.pem, ALGORITHM, headers={"kid": key.kid})


class _Link(DeepLinkResource):
    """An LTI resource link (section 3.2), with the text and the target that pylti1p3 leaves out."""

    def __init__(self, experience: Experience, request: LinkRequest, choice: Choice, app_url: str) -> None:
        self.set_title(experience.title).set_url(tool.experience_link(app_url, experience.id))
        self.set_icon_url(app_url + tool.ICON_PATH)
        self._text = summary(experience)
        self._shown_in = request.target
        if choice.points is not None and request.takes_line_items is not False:
            self.set_lineitem(_line_item(experience, choice.points))

    def to_dict(self) -> dict[str, object]:
        more: dict[str, object] = {"text": self._text} if self._text else {}
        if self._shown_in is DocumentTarget.IFRAME:
            more["iframe"] = {}  # as large as the platform has room for
        elif self._shown_in is DocumentTarget.WINDOW:
            more["window"] = {"targetName": "_blank"}
        return super().to_dict() | more


def read_request(launch: Launch, identity: Identity, *, production: bool) -> LinkRequest:
    """Return what the deep linking request of a launch asks for.

    Raises `NotFoundError` for a launch of another kind, `WritersOnlyError` or `UnsafeReturnError`.
    """
    settings = launch.deep_linking
    if settings is None:
        raise NotFoundError(log="no deep linking request")
    if not identity.may(Right.WRITE_EXPERIENCES):
        raise WritersOnlyError(log=f"deep linking by a {identity.role}")
    return_url: str = settings["deep_link_return_url"]
    if not is_protected(return_url, production=production):
        raise UnsafeReturnError(log=f"deep_link_return_url {return_url!r:.300}")
    targets = settings.get("accept_presentation_document_targets")
    line_items = settings.get("accept_lineitem")
    return LinkRequest(
        return_url=return_url,
        takes_links=RESOURCE_LINK in settings["accept_types"],
        takes_several=_is_true(settings.get("accept_multiple")),
        takes_line_items=None if line_items is None else _is_true(line_items),
        target=next(
            (target for target in DocumentTarget if isinstance(targets, list) and target in targets), None
        ),
        settings=settings,
    )


def summary(experience: Experience) -> str | None:
    """Return the beginning of an experience's description, as one line of plain text."""
    return clean_line(plain_text(experience.description), MAX_SUMMARY)


def _line_item(experience: Experience, points: float) -> LineItem:
    return (
        LineItem()
        .set_label(experience.title)
        .set_score_maximum(int(points) if points.is_integer() else points)
        .set_resource_id(resource_id_of(experience.id))
        .set_tag(LINE_ITEM_TAG)
    )


def _is_true(value: object) -> bool:
    """Read a boolean, which some platforms write as text."""
    return value is True or value == "true"
