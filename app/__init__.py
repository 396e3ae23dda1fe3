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
    from app.api.wiring import init_app as init_api
    from app.conversations.evaluation import Evaluations
    from app.conversations.judges import Judges
    from app.conversations.replies import Replies
    from app.conversations.safety.moderations import Moderations
    from app.conversations.safety.safety import Safety
    from app.conversations.views import blueprint as conversations
    from app.database import Database
    from app.experiences.views import blueprint as experiences
    from app.llm.selection import build_adapter, build_judge
    from app.lti.wiring import init_app as init_lti
    from app.paths import PACKAGE, templates_dir
    from app.privacy import blueprint as privacy
    from app.review.flag_views import blueprint as flags
    from app.review.views import blueprint as review
    from app.settings import load_settings
    from app.usage.meter import TokenMeter

    settings = settings or load_settings()
    logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    app = Flask(__name__, template_folder=str(templates_dir()), static_folder=str(PACKAGE / "static"))
    web.configure(app, settings)
    database = Database(settings.database_url)
    database.init_app(app)
    Bootstrap5(app)
    Babel(app, locale_selector=web.choose_locale)
    errors.init_app(app)
    model, judge, safety = build_adapter(settings), build_judge(settings), Safety.from_settings(settings)
    meter = TokenMeter(database)
    app.extensions.update(
        model=model,
        safety=safety,
        meter=meter,
        moderations=Moderations(database, safety.beside),
        replies=Replies(
            database,
            model,
            safety,
            meter,
            max_tokens=settings.llm_max_tokens,
            turn_seconds=settings.llm_turn_timeout,
        ),
        judges=Judges(database, judge, meter),
        evaluations=Evaluations(database, judge, safety, meter),
    )
    csrf = CSRFProtect(app)
    init_lti(app, settings, database, csrf)
    for blueprint in (experiences, conversations, review, flags, privacy):
        app.register_blueprint(blueprint)
    init_api(app, settings, csrf)
    web.serve_static_files(app)
    return app
