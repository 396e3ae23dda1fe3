"""Registrations in the database: from `tool_config.json`, from the command line, and as pylti1p3 reads one."""

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pylti1p3.registration import Registration
from pylti1p3.tool_config import ToolConfAbstract
from sqlalchemy import and_, bindparam, func, update
from sqlalchemy.exc import NoResultFound
from sqlmodel import Session, col, select

from app.courses.models import Course
from app.database import upsert
from app.lti.addresses import is_protected, web_address
from app.lti.models import MAX_URL, Deployment, Platform, RegistrationSource, RegistrationState
from app.lti.refusals import AmbiguousPlatformError, UnknownPlatformError


class PlatformConfigError(Exception):
    """The platforms as written cannot be used; the message says what to change."""


def _checked(value: str) -> str:
    if web_address(value) is None:
        raise ValueError(f"must be an http or https address of at most {MAX_URL} characters")
    return value


WebAddress = Annotated[str, AfterValidator(_checked)]


class PlatformEntry(BaseModel):
    """A registration as `tool_config.json` writes it (pylti1p3's format). An empty ``client_id`` is a blank form."""

    model_config = ConfigDict(extra="ignore")

    client_id: str = Field(max_length=255)
    auth_login_url: WebAddress
    auth_token_url: WebAddress
    key_set_url: WebAddress
    auth_audience: str | None = Field(default=None, max_length=MAX_URL)
    private_key_file: str | None = None
    deployment_ids: list[str] = Field(default_factory=list)

    @property
    def addresses(self) -> tuple[str, str, str]:
        """Where the tool and its people's browsers are sent."""
        return self.auth_login_url, self.auth_token_url, self.key_set_url

    @property
    def filled_in(self) -> bool:
        """False for a form that an administrator has not filled in."""
        return bool(self.client_id.strip())


_CONFIG = TypeAdapter(dict[str, list[PlatformEntry] | PlatformEntry])


def read_tool_config(path: Path) -> list[tuple[str, PlatformEntry]]:
    """Return the filled-in registrations of `tool_config.json` with their issuers; a missing file has none.

    Raises `PlatformConfigError`.
    """
    if not path.exists():
        return []
    try:
        issuers = _CONFIG.validate_python(json.loads(path.read_text()))
    except (ValueError, ValidationError) as error:
        raise PlatformConfigError(f"{path} cannot be read: {error}") from error
    entries = (
        (issuer, entry)
        for issuer, listed in issuers.items()
        for entry in (listed if isinstance(listed, list) else [listed])
    )
    return [(issuer, entry) for issuer, entry in entries if entry.filled_in]


def sync_tool_config(session: Session, path: Path) -> int:
    """Make what came from `tool_config.json` what it says now; return how many platforms it holds.

    A platform or deployment that it no longer holds stops launching; people and work stay. What the command
    registered is left alone. Raises `PlatformConfigError`.
    """
    entries = read_tool_config(path)
    for model in (Platform, Deployment):
        session.execute(
            update(model)
            .where(col(model.source) == RegistrationSource.TOOL_CONFIG)
            .values(workflow_state=RegistrationState.REMOVED)
        )
    for issuer, entry in entries:
        save_platform(session, issuer, entry, RegistrationSource.TOOL_CONFIG)
    return len(entries)


def add_platform(session: Session, issuer: str, entry: PlatformEntry, *, production: bool) -> Platform:
    """Register a platform by the command, or bring its registration up to date: what `entry` leaves out stays.

    With the same addresses as before it goes on as what it was: one that registered itself is asked at public ones
    alone. Raises `PlatformConfigError`.
    """
    _refuse_unless_usable(issuer, entry, production=production)
    key = {"issuer": issuer, "client_id": entry.client_id}
    source = _source_after(session.exec(select(Platform).filter_by(**key)).first(), entry)
    platform = save_platform(session, issuer, entry, RegistrationSource.COMMAND, whole=False)
    platform.source = source
    return platform


def _refuse_unless_usable(issuer: str, entry: PlatformEntry, *, production: bool) -> None:
    if not all(name.strip() for name in (issuer, entry.client_id, *entry.deployment_ids)):
        raise PlatformConfigError("The issuer, the client id and a deployment id must not be empty.")
    for address in entry.addresses:
        if not is_protected(address, production=production):
            raise PlatformConfigError(
                f"{address} is not protected: it must begin with https://. "
                "Plain http is for this machine alone, in development."
            )


def _source_after(before: Platform | None, entry: PlatformEntry) -> RegistrationSource:
    """Return whose a registration is once the command has written it; what left `tool_config.json` is its no more."""
    if before is None or entry.addresses != (
        before.auth_login_url,
        before.auth_token_url,
        before.key_set_url,
    ):
        return RegistrationSource.COMMAND
    left_the_file = (
        before.source is RegistrationSource.TOOL_CONFIG and before.workflow_state is RegistrationState.REMOVED
    )
    return RegistrationSource.COMMAND if left_the_file else before.source


def save_platform(
    session: Session,
    issuer: str,
    entry: PlatformEntry,
    source: RegistrationSource,
    *,
    replace: bool = True,
    whole: bool = True,
) -> Platform:
    """Add a registration, or bring one up to date and add deployments to it.

    Without `replace` only one that was removed is written over. Raises `PlatformConfigError` for an active one then.
    Unless `entry` is the `whole` of it, what it leaves out stays as it was.
    """
    try:
        platform = _write_platform(session, issuer, entry, source, replace=replace, whole=whole)
    except NoResultFound as error:
        raise PlatformConfigError("This client id is registered at this issuer already.") from error
    for deployment_id in entry.deployment_ids:
        upsert(
            session,
            Deployment,
            key={"platform_id": platform.id, "deployment_id": deployment_id},
            values={"source": source, "workflow_state": RegistrationState.ACTIVE},
        )
    return platform


def _write_platform(
    session: Session,
    issuer: str,
    entry: PlatformEntry,
    source: RegistrationSource,
    *,
    replace: bool,
    whole: bool,
) -> Platform:
    return upsert(
        session,
        Platform,
        key={"issuer": issuer, "client_id": entry.client_id},
        values={
            **entry.model_dump(exclude={"client_id", "deployment_ids"}, exclude_unset=not whole),
            "source": source,
            "workflow_state": RegistrationState.ACTIVE,
        },
        where=None if replace else col(Platform.workflow_state) != RegistrationState.ACTIVE,
    )


def list_platforms(session: Session) -> list[tuple[Platform, list[str]]]:
    """Return the active platforms with their deployment ids."""
    platforms = session.exec(
        select(Platform).where(Platform.workflow_state == RegistrationState.ACTIVE)
    ).all()
    deployments = session.exec(
        select(Deployment).where(Deployment.workflow_state == RegistrationState.ACTIVE)
    ).all()
    return [
        (platform, [row.deployment_id for row in deployments if row.platform_id == platform.id])
        for platform in platforms
    ]


def remove_platform(session: Session, issuer: str, client_id: str) -> None:
    """Stop a platform's launches; its people and work stay.

    Raises `UnknownPlatformError`, and `PlatformConfigError` for one that `tool_config.json` would bring back.
    """
    platform = find_platform(session, issuer, client_id)
    if platform.source is RegistrationSource.TOOL_CONFIG:
        raise PlatformConfigError(
            "This platform stands in tool_config.json: strike it out there and restart."
        )
    platform.workflow_state = RegistrationState.REMOVED


def find_platform(session: Session, issuer: str, client_id: str | None) -> Platform:
    """Find the active registration of a client at an issuer; without a client id, the issuer's only one.

    Raises `UnknownPlatformError` or `AmbiguousPlatformError`.
    """
    return find_registration(session, issuer, client_id)[0]


# Built once: each login asks it.
_REGISTRATION = (
    select(Platform, col(Deployment.workflow_state))
    .outerjoin(
        Deployment,
        and_(
            col(Deployment.platform_id) == Platform.id,
            col(Deployment.deployment_id) == bindparam("deployment_id"),
        ),
    )
    .where(
        Platform.issuer == bindparam("issuer"),
        Platform.client_id == func.coalesce(bindparam("client_id"), Platform.client_id),
        Platform.workflow_state == RegistrationState.ACTIVE,
    )
    .limit(2)
)


def find_registration(
    session: Session, issuer: str, client_id: str | None, deployment_id: str | None = None
) -> tuple[Platform, RegistrationState | None]:
    """Find a platform as `find_platform` does, with the state of one of its deployments; None for one that it lacks.

    One query.
    """
    asked = {"issuer": issuer, "client_id": client_id or None, "deployment_id": deployment_id}
    found = session.exec(_REGISTRATION, params=asked).all()
    if not found:
        raise UnknownPlatformError(issuer, client_id)
    if len(found) > 1:
        raise AmbiguousPlatformError(issuer)
    platform, state = found[0]
    return platform, state


_DEPLOYMENT = select(Deployment).where(
    Deployment.platform_id == bindparam("platform_id"), Deployment.deployment_id == bindparam("deployment_id")
)


def find_deployment(session: Session, platform_id: int, deployment_id: str) -> Deployment | None:
    """Find one of a platform's deployments, in whatever state."""
    return session.exec(
        _DEPLOYMENT, params={"platform_id": platform_id, "deployment_id": deployment_id}
    ).first()


def first_deployment(session: Session, platform_id: int) -> Deployment:
    """Return a platform's oldest active deployment. Raises `PlatformConfigError` where it has none."""
    found = session.exec(
        select(Deployment)
        .where(Deployment.platform_id == platform_id, Deployment.workflow_state == RegistrationState.ACTIVE)
        .order_by(col(Deployment.id))
    ).first()
    if found is None:
        raise PlatformConfigError("The platform has no deployment that may launch the tool.")
    return found


def note_deployment(
    session: Session, platform: Platform, deployment_id: str, *, approve: bool = False
) -> Deployment:
    """Find the deployment that a verified launch names; one that is new waits for approval, unless ``approve``."""
    state = RegistrationState.ACTIVE if approve else RegistrationState.PENDING
    deployment = find_deployment(session, platform.id, deployment_id) or upsert(
        session,
        Deployment,
        key={"platform_id": platform.id, "deployment_id": deployment_id},
        values={"source": RegistrationSource.LAUNCH, "workflow_state": state},
    )
    if approve and deployment.workflow_state is RegistrationState.PENDING:
        deployment.workflow_state = RegistrationState.ACTIVE
    return deployment


class OnePlatform(ToolConfAbstract[Any]):
    """The platform that has been found, behind the interface through which pylti1p3 asks for it."""

    def __init__(self, platform: Platform) -> None:
        self._registration = to_registration(platform)

    def check_iss_has_one_client(self, iss: str) -> bool:
        """Always: which client it is has been settled."""
        return True

    def find_registration_by_issuer(self, iss: str, *_args: object, **_kwargs: object) -> Registration:
        """Return the platform's registration."""
        return self._registration

    def find_registration_by_params(
        self, iss: str, client_id: str, *_args: object, **_kwargs: object
    ) -> Registration:
        """Return the platform's registration."""
        return self._registration

    def find_deployment(self, iss: str, deployment_id: str) -> None:
        """Know none: deployments are looked up in the database."""

    def find_deployment_by_params(
        self, iss: str, deployment_id: str, client_id: str, *_args: object, **_kwargs: object
    ) -> None:
        """Know none: deployments are looked up in the database."""


def to_registration(platform: Platform) -> Registration:
    """Return a platform as pylti1p3 knows one."""
    registration = Registration()
    registration.set_issuer(platform.issuer).set_client_id(platform.client_id)
    registration.set_auth_login_url(platform.auth_login_url).set_auth_token_url(platform.auth_token_url)
    registration.set_key_set_url(platform.key_set_url)
    if platform.auth_audience:
        registration.set_auth_audience(platform.auth_audience)
    return registration


def private_key_files(session: Session) -> list[str]:
    """Return the key files of active platforms that have one of their own."""
    query = (
        select(Platform.private_key_file)
        .where(
            Platform.workflow_state == RegistrationState.ACTIVE, col(Platform.private_key_file).is_not(None)
        )
        .distinct()
    )
    return [name for name in session.exec(query) if name]


def pending_deployments(session: Session, platform_id: int) -> list[Deployment]:
    """Return a platform's deployments that wait for approval, oldest first."""
    query = select(Deployment).where(
        Deployment.platform_id == platform_id, Deployment.workflow_state == RegistrationState.PENDING
    )
    return list(session.exec(query.order_by(col(Deployment.id))))


def known_deployment(session: Session, platform_id: int, deployment_id: str) -> Deployment:
    """Return one of a platform's deployments, in whatever state. Raises `PlatformConfigError`."""
    found = find_deployment(session, platform_id, deployment_id)
    if found is None:
        raise PlatformConfigError(
            f"The platform has no deployment {deployment_id}. One becomes known with its first launch, "
            "or with “ai-experiences platform add”."
        )
    return found


def approve_deployment(session: Session, deployment: Deployment, replaces: Deployment | None = None) -> None:
    """Let a deployment's launches in; as one that `replaces` another, to that one's courses.

    Raises `PlatformConfigError` where it cannot replace the other.
    """
    if replaces is not None:
        _refuse_unless_replaceable(session, deployment, replaces)
        deployment.home_id = replaces.courses_of
    deployment.workflow_state = RegistrationState.ACTIVE


def remove_deployment(deployment: Deployment) -> None:
    """Refuse a deployment's launches, those of a pending one too; its people and work stay.

    Raises `PlatformConfigError` for one that `tool_config.json` would bring back.
    """
    if deployment.source is RegistrationSource.TOOL_CONFIG:
        raise PlatformConfigError(
            "This deployment stands in tool_config.json: strike it out there and restart."
        )
    deployment.workflow_state = RegistrationState.REMOVED


def _refuse_unless_replaceable(session: Session, deployment: Deployment, replaces: Deployment) -> None:
    if replaces.platform_id != deployment.platform_id:
        raise PlatformConfigError("A deployment replaces one of its own platform only.")
    if replaces.courses_of == deployment.courses_of:
        raise PlatformConfigError("These two deployments open the same courses already.")
    if session.exec(select(Course.id).where(Course.deployment_id == deployment.id)).first() is not None:
        raise PlatformConfigError(
            "This deployment has courses of its own by now, so it cannot open another's."
        )
