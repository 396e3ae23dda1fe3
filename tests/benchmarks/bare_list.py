"""What lists of the API are held against: the cheapest Flask answer, the same rows by one indexed query, jsonified."""

import os

from flask import Flask, Response, jsonify
from sqlalchemy import create_engine, text

_ROWS = text(
    "SELECT id, course_id, title, description, facts, learning_objectives, pedagogical_guidance, persona_name, "
    "opening_line, evaluation_metrics, max_turns, workflow_state, created_at, updated_at "
    "FROM experiences WHERE course_id = :course_id ORDER BY id DESC LIMIT 100"
)


def create_app() -> Flask:
    """Build the application on DATABASE_URL, which is ours."""
    app = Flask(__name__)
    engine = create_engine(os.environ["DATABASE_URL"], isolation_level="AUTOCOMMIT")

    @app.get("/")
    def home() -> str:
        return ""

    @app.get("/experiences/<int:course_id>")
    def experiences(course_id: int) -> Response:
        with engine.connect() as connection:
            rows = connection.execute(_ROWS, {"course_id": course_id}).mappings()
            return jsonify([dict(row) for row in rows])

    return app
