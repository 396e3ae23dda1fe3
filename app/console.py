"""What commands have in common."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from app.lti.refusals import LaunchRefusedError
from app.lti.registration.platforms import PlatformConfigError


@contextmanager
def refusals_as_messages() -> Iterator[None]:
    """End a command in the sentence that says what is wrong with what it was given."""
    try:
        yield
    except LaunchRefusedError as error:
        raise click.ClickException(str(error.administrator)) from error
    except PlatformConfigError as error:
        raise click.ClickException(str(error)) from error
