"""What the pages are made of besides themselves: the storage frame, avatars, and the theme."""

from flask import Blueprint, Response, abort, current_app, jsonify, render_template, request

from app.sandbox.platform import sandbox_of

frames = Blueprint("frames", __name__)
images = Blueprint("images", __name__)

AVATAR_COLORS = ("#0b7a75", "#7b3f73", "#0b6296", "#8a4b08", "#3f6b1e", "#8c2f39", "#4b4e9c")
BRAND = {
    "ic-brand-primary": "#0374B5",
    "ic-brand-font-color-dark": "#2D3B45",
    "ic-link-color": "#0B6296",
    "ic-brand-button--primary-bgd": "#0374B5",
    "ic-brand-button--primary-text": "#FFFFFF",
    "ic-brand-global-nav-bgd": "#394B58",
}


@frames.get("/post_message_forwarding")
def storage() -> str:
    """The hidden frame that keeps values for the tool."""
    sandbox = sandbox_of(current_app)
    return render_template(
        "sandbox/storage_frame.html",
        tool_origins=" ".join(sandbox.tools.origins()),
        storage=request.args.get("storage", sandbox.storage),
    )


@frames.get("/brand_config.json")
def brand_config() -> Response:
    """The account's theme, which any tool may read."""
    answer = jsonify(BRAND)
    answer.headers["Access-Control-Allow-Origin"] = "*"
    return answer


@images.get("/images/thumbnails/<int:canvas_id>.svg")
def thumbnail(canvas_id: int) -> Response:
    """Somebody's initials on a colour of their own."""
    person = sandbox_of(current_app).directory.person(canvas_id) or abort(404)
    color = AVATAR_COLORS[canvas_id % len(AVATAR_COLORS)]
    drawing = render_template("sandbox/avatar.svg", person=person, color=color)
    answer = Response(drawing, mimetype="image/svg+xml")
    answer.cache_control.max_age = 3600
    # Tools show the picture of the launch from their own origin.
    answer.headers["Cross-Origin-Resource-Policy"] = "cross-origin"
    return answer
