"""The account's developer keys: the installed tools, and the registration of another."""

from flask import abort, g, render_template, request

from app.sandbox.errors import SandboxRefusedError
from app.sandbox.pages.place import here, pages
from app.sandbox.tools import origin_of


@pages.get("/accounts/1/developer_keys")
def developer_keys() -> str:
    """The tools with their ids, and a place for a registration URL."""
    _allow_administrators()
    return render_template(
        "sandbox/developer_keys.html",
        title="Developer keys",
        tools=here().tools.all(),
        config=here().config,
    )


@pages.get("/accounts/1/developer_keys/register")
def register_tool() -> tuple[str, int]:
    """A tool's own registration page, in a frame, with what it needs to register itself."""
    _allow_administrators()
    try:
        url = here().registration_url(request.args.get("registration_url", "").strip())
    except SandboxRefusedError as error:
        page = render_template(
            "sandbox/developer_keys.html",
            title="Developer keys",
            tools=here().tools.all(),
            config=here().config,
            problem=error,
        )
        return page, 400
    g.framed_origins = [origin_of(url)]
    page = render_template(
        "sandbox/register.html", title="Register a tool", url=url, tool_origin=origin_of(url)
    )
    return page, 200


def _allow_administrators() -> None:
    if not g.person.administrator:
        abort(403)
