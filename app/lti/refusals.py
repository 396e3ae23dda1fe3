"""Why a login or launch is refused: a sentence for the person and one for the administrator."""

import shlex
from collections.abc import Mapping

from flask_babel import LazyString
from flask_babel import lazy_gettext as _l

from app.errors import AppError
from app.lti.models import MAX_ID, Platform


class LaunchRefusedError(AppError):
    """A login or launch that is not let in. Subclasses say why; ``log`` holds the details."""

    status = 400
    code = "launch_refused"
    template = "errors/launch_refused.html"
    title = _l("The launch did not work")
    message = _l("AI Experiences could not be opened. Go back to your course and open it again.")
    administrator: LazyString | str = _l(
        "The platform's message was not a valid LTI 1.3 message. The log has the details."
    )


class UnknownPlatformError(LaunchRefusedError):
    """The issuer, or the client id at it, is not registered. The page shows what came, cut to what a table holds."""

    code = "unknown_platform"
    template = "errors/unknown_platform.html"
    message = _l("AI Experiences does not know the school that sent you. Please tell your administrator.")
    administrator = _l(
        "Register the platform: send its administrator a link that “ai-experiences platform invite” prints, fill in "
        "its client id and deployment id in tool_config.json, or run “ai-experiences platform add”. "
        "The issuer and client id must be exactly those that the platform sends."
    )

    def __init__(self, issuer: str, client_id: str | None, *, log: str = "") -> None:
        super().__init__(log=log or f"issuer {issuer!r:.300} client {client_id!r:.300}")
        self.issuer, self.client_id = issuer[:MAX_ID], (client_id or "")[:MAX_ID]


class AmbiguousPlatformError(LaunchRefusedError):
    """Several clients at one issuer, and the login did not say which."""

    code = "ambiguous_platform"
    administrator = _l("Several client ids are registered for this issuer and the login named none of them.")

    def __init__(self, issuer: str) -> None:
        super().__init__(log=f"issuer {issuer!r:.300}")
        self.issuer = issuer


class DeploymentNotApprovedError(LaunchRefusedError):
    """The deployment is new at a known platform, waits for approval, or was refused.

    ``ask_again``, where a login request came from a new one, is what the page sends to have it put before the
    administrator. ``command`` approves it: its parts as a shell takes them, a line breaks between two alone.
    """

    code = "deployment_not_approved"
    status = 403
    template = "errors/deployment_not_approved.html"
    title = _l("AI Experiences is not approved here yet")
    message = _l("AI Experiences is installed here but not yet approved. Please tell your administrator.")

    administrator = _l(
        "Approve it on “Set-up” in AI Experiences, opened from a course where it is approved, or have whoever runs "
        "AI Experiences do so with this command. The first deployment of a client needs the command."
    )

    def __init__(
        self,
        platform: Platform,
        deployment_id: str,
        *,
        waits: bool = False,
        ask_again: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(log=f"deployment {deployment_id!r:.300} of platform {platform.id} is not approved")
        self.waits, self.ask_again = waits, ask_again
        options = {
            "issuer": platform.issuer,
            "client-id": platform.client_id,
            "deployment-id": deployment_id,
        }
        self.command = [
            "ai-experiences platform approve",
            *(shlex.quote(f"--{name}={value}") for name, value in options.items()),
        ]


class IncompleteLoginError(LaunchRefusedError):
    """The login request lacks what it must carry, or asks for a page that is not ours."""

    code = "incomplete_login"
    administrator = _l(
        "The login request must carry iss and login_hint, and a target_link_uri on this tool's own address."
    )


class StateRefusedError(LaunchRefusedError):
    """The state is missing, unknown, used or too old."""

    code = "state_refused"
    status = 401
    message = _l(
        "This launch was used before or took too long. Go back to your course and open AI Experiences again."
    )
    administrator = _l(
        "Each launch works once, within ten minutes of its login. Reloading the page sends it again."
    )


class AnotherBrowserError(LaunchRefusedError):
    """The browser that launches is not the one that logged in, or keeps no cookies.

    ``again``, for a launch inside a frame, is the login request with which a tab of its own can begin anew.
    """

    code = "another_browser"
    status = 401
    template = "errors/another_browser.html"
    message = _l(
        "Your browser did not keep what this visit needs. Allow cookies for this site, "
        "or use another browser, and open AI Experiences again from your course."
    )
    administrator = _l(
        "The launch came without the secret that its login left in the same browser, in a cookie or with the platform."
    )

    def __init__(self, *, log: str, again: Mapping[str, str] | None = None) -> None:
        super().__init__(log=log)
        self.again = again


class TokenRefusedError(LaunchRefusedError):
    """The id_token does not hold: form, signature, times, audience, nonce."""

    code = "token_refused"
    status = 401
    administrator = _l(
        "The signed message did not verify. Check the issuer, client id and key set address of this platform, "
        "and that the clocks of both servers are right."
    )


class UnreadableTokenError(TokenRefusedError):
    """What was posted is no id_token; ``administrator`` says what is wrong with its form."""

    code = "unreadable_token"

    def __init__(self, administrator: LazyString, *, log: str) -> None:
        super().__init__(log=log)
        self.administrator = administrator


class IncompleteTokenError(TokenRefusedError):
    """A message that verified, but lacks or misstates the claim named ``claim``."""

    code = "incomplete_token"

    def __init__(self, claim: str, *, log: str) -> None:
        super().__init__(log=log)
        self.administrator = _l(
            "The message verified, but its claim %(claim)s is missing or is not what LTI 1.3 and this tool expect.",
            claim=claim,
        )


class PlatformDeclinedError(LaunchRefusedError):
    """The platform answered the login with an error instead of an id_token (OpenID Connect Core, section 3.1.2.6)."""

    code = "platform_declined"
    message = _l(
        "Your school's learning platform did not confirm who you are. "
        "Go back to your course and open AI Experiences again."
    )
    administrator = _l(
        "The platform answered the login with an error. Check there that the tool is enabled, that its redirect "
        "address is this tool's launch address, and that the person may enter the course."
    )


class OpenedByHandError(LaunchRefusedError):
    """Somebody came to the launch address without a platform's message."""

    code = "opened_by_hand"
    status = 401
    message = _l(
        "This address works from a course alone. Go back to your course and open AI Experiences there."
    )
    administrator = _l("The launch address takes what a platform posts; this was a plain visit (GET).")


class PlatformKeysError(LaunchRefusedError):
    """The platform's keys could not be fetched."""

    code = "platform_keys_unavailable"
    status = 503
    retryable = True
    message = _l("Your school's learning platform did not answer just now. Please try again in a minute.")
    administrator = _l(
        "The platform's key set could not be fetched. Check its address and that it can be reached."
    )


class UnsupportedMessageError(LaunchRefusedError):
    """A message type that the tool does not handle, or a wrong LTI version."""

    code = "unsupported_message"
    administrator = _l(
        "The tool takes LTI 1.3.0 resource link launches, deep linking and submission review requests; "
        "this message was of another kind or incomplete."
    )


class WritersOnlyError(LaunchRefusedError):
    """A deep linking request of somebody who writes no experiences."""

    code = "writers_only"
    status = 403
    message = _l("Only those who write experiences, such as teachers, can add one to the course.")
    administrator = _l(
        "A student, observer or the like was sent to choose what to add to the course. "
        "Show the tool's placements for that to teachers and designers alone."
    )


class NoContextError(LaunchRefusedError):
    """A launch from outside a course."""

    code = "no_course"
    message = _l("AI Experiences works inside a course. Open it from a course's navigation.")
    administrator = _l(
        "The launch carried no context or resource link. Place the tool in the course navigation."
    )


class NoPersonError(LaunchRefusedError):
    """A launch that does not say who it is for."""

    code = "no_person"
    message = _l("AI Experiences needs to know who is who, and your school's platform did not say.")
    administrator = _l("The launch carried no usable sub claim. Set the tool's privacy level to public.")


class NoRoleError(LaunchRefusedError):
    """No role came."""

    code = "no_role"
    status = 403
    message = _l("Your school's learning platform did not say which role you have in this course.")
    administrator = _l(
        "The launch's roles claim was missing, empty or not a list. "
        "Give the person a role in the course, and check that the platform sends it."
    )


class UnknownRoleError(NoRoleError):
    """Roles came, but none that the tool knows."""

    code = "unknown_role"
    message = _l("Your role in this course is not one that AI Experiences knows, so it cannot open for you.")
    administrator = _l(
        "The launch's roles claim held no course, institution or system role that the tool maps. "
        "Give the person a course role such as teacher, student or observer."
    )
