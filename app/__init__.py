"""AI Experiences: an LTI 1.3 Advantage tool for Canvas. `create_app` wires its rooms together."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from app.settings import Settings


def create_app(settings: Settings | None = None) -> Flask:
    """Build the WSGI application. Raises `SettingsError` for settings that cannot be used."""
    # Imported here so that a process which needs one room of the package (the embedded model's) loads no other.
    from flask import Flask
    from flask_babel import Babel
    from flask_bootstrap import Bootstrap5
    from flask_wtf import CSRFProtect

    from app import errors, web
    from app.conversations.replies import Replies
    from app.conversations.views import blueprint as conversations
    from app.database import Database
    from app.experiences.views import blueprint as experiences
    from app.llm.selection import build_adapter
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
    from app.paths import PACKAGE, templates_dir
    from app.review.views import blueprint as review
    from app.settings import load_settings

    settings = settings or load_settings()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    app = Flask(__name__, template_folder=str(templates_dir()), static_folder=str(PACKAGE / "static"))
    web.configure(app, settings)
    app.session_interface = LaunchSessions()
    database = Database(settings.database_url)
    database.init_app(app)
    Bootstrap5(app)
    Babel(app, locale_selector=web.choose_locale)
    csrf = CSRFProtect(app)
    csrf.exempt(lti)
    csrf.exempt(registration)
    errors.init_app(app)
    model = build_adapter(settings)
    key_ring = KeyRing(settings.keys_dir, given=settings.lti_private_keys, beside=settings.tool_config.parent)
    app.extensions.update(
        key_ring=key_ring,
        key_sets=KeySets(
            Outbound(production=settings.production, allow_private=settings.allow_private_platforms)
        ),
        registration_http=OutboundSession(
            production=settings.production, public_only=not settings.allow_private_platforms
        ),
        model=model,
        replies=Replies(
            database, model, max_tokens=settings.llm_max_tokens, turn_seconds=settings.llm_turn_timeout
        ),
    )
    owed = Owed()
    services = PlatformServices(
        key_ring, production=settings.production, allow_private=settings.allow_private_platforms
    )
    app.extensions["rosters"] = rosters = Rosters(database, services, owed.wake)
    owed.add(rosters.work, Scores(database, services, settings.app_url).work, threads=2)
    owed.add(Columns(database, services).work)
    owed.init_app(app)
    for blueprint in (lti, registration, opening, deep_linking, setup, experiences, conversations, review):
        app.register_blueprint(blueprint)
    web.serve_static_files(app)
    return app
