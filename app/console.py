"""What commands have in common."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from app.database import database
from app.lti.refusals import AmbiguousPlatformError, LaunchRefusedError, UnknownPlatformError
from app.lti.registration.platforms import PlatformConfigError, list_platforms


@contextmanager
def refusals_as_messages() -> Iterator[None]:
    """End a command in the sentence that says what is wrong with what it was given."""
    try:
        yield
    except UnknownPlatformError as error:
        raise click.ClickException(_registered() or str(error.administrator)) from error
    except AmbiguousPlatformError as error:
        raise click.ClickException(_clients_at(error.issuer)) from error
    except LaunchRefusedError as error:
        raise click.ClickException(str(error.administrator)) from error
    except PlatformConfigError as error:
        raise click.ClickException(str(error)) from error


def _registered() -> str:
    """Name the platforms that could have been meant; empty where there is none."""
    with database().snapshot() as session:
        names = [f"{found.issuer} (client id {found.client_id})" for found, _ in list_platforms(session)]
    return f"There is no such platform. Registered: {', '.join(names)}." if names else ""


def _clients_at(issuer: str) -> str:
    """Name the client ids between which an issuer alone does not tell."""
    with database().snapshot() as session:
        ids = [found.client_id for found, _ in list_platforms(session) if found.issuer == issuer]
    return f"Several client ids are registered for {issuer}. Name one with --client-id: {', '.join(ids)}."
