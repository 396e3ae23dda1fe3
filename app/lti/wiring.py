"""The LTI room's parts in an application: keys, requests to platforms, what is owed to them, sessions, pages."""

from flask import Flask
from flask_wtf import CSRFProtect

from app.database import Database
from app.lti.deep_linking.views import blueprint as deep_linking
from app.lti.key_sets import KeySets
from app.lti.keys import KeyRing
from app.lti.opening import blueprint as opening
from app.lti.outbound import Outbound, OutboundSession
from app.lti.registration.views import blueprint as registration
from app.lti.services.client import PlatformServices
from app.lti.services.columns import Columns
from app.lti.services.owed import Owed
from app.lti.services.roster import Rosters
from app.lti.services.scores import Scores
from app.lti.sessions import LaunchSessions
from app.lti.setup.views import blueprint as setup
from app.lti.views import blueprint as lti
from app.settings import Settings


def init_app(app: Flask, settings: Settings, database: Database, csrf: CSRFProtect) -> None:
    """Let `app` be launched by platforms. Their own posts carry no CSRF token: state, nonce or invitation stand for it.

    Raises `PrivateKeyError` for keys in the settings that cannot be used.
    """
    production, allow_private = settings.production, settings.allow_private_platforms
    key_ring = KeyRing(settings.keys_dir, given=settings.lti_private_keys, beside=settings.tool_config.parent)
    services = PlatformServices(key_ring, production=production, allow_private=allow_private)
    owed = Owed()
    rosters = Rosters(database, services, owed.wake)
    owed.add(rosters.work, Scores(database, services, settings.app_url).work, threads=2)
    owed.add(Columns(database, services).work)
    owed.init_app(app)
    app.session_interface = LaunchSessions()
    app.extensions.update(
        key_ring=key_ring,
        key_sets=KeySets(Outbound(production=production, allow_private=allow_private)),
        registration_http=OutboundSession(production=production, public_only=not allow_private),
        rosters=rosters,
    )
    for blueprint in (lti, registration):
        csrf.exempt(blueprint)
    for blueprint in (lti, registration, opening, deep_linking, setup):
        app.register_blueprint(blueprint)
