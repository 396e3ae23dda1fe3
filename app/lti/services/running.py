"""What this process reads from platforms in the background, for those who ask in a request."""

from typing import cast

from flask import current_app

from app.identity import Identity, Right
from app.lti.services.roster import Rosters, RosterStatus


def rosters() -> Rosters:
    """Return the class lists of this process."""
    return cast(Rosters, current_app.extensions["rosters"])


def fresh_roster(identity: Identity) -> RosterStatus:
    """Have the class list read before the class is shown, as `Rosters.freshen` does. Raises `ForbiddenError`.

    It comes before the request's session: no transaction may be open while the list is waited for.
    """
    identity.require(Right.READ_TRANSCRIPTS)
    return rosters().freshen(identity.course.id)
