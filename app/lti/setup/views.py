"""The page on which administrators see how the tool is set up, and teachers a short form of it."""

from http import HTTPStatus

from flask import flash, redirect, render_template, request, url_for
from flask_babel import gettext
from flask_babel import lazy_gettext as _l
from werkzeug.wrappers import Response

from app.database import request_session
from app.errors import NotFoundError
from app.identity import Right
from app.lti.roles import RoleUse
from app.lti.sessions import current_identity, current_launch, launch_blueprint
from app.lti.setup import approvals, people
from app.lti.setup.checklist import checklist, find_facts, scopes
from app.lti.setup.received import FieldState, lay_out
from app.usage import budgets
from app.usage.forms import BudgetForm, budget_form
from app.web import row_id

blueprint = launch_blueprint("setup", __name__)

ROLE_USES = {
    RoleUse.DECIDES: _l("This is the role in the course."),
    RoleUse.OUTRANKED: _l("Not used: a stronger course role came too."),
    RoleUse.MARKS: _l("Marks the role in the course."),
    RoleUse.ADMINISTERS: _l("Administers the platform, and the course where no course role came."),
    RoleUse.ELSEWHERE: _l("Not used: a role in the institution or system says nothing of this course."),
    RoleUse.UNKNOWN: _l("Not used: not a role that the tool knows."),
}
FIELD_STATES = {
    FieldState.RESOLVED: _l("Filled in"),
    FieldState.UNRESOLVED: _l("Not filled in by the platform"),
    FieldState.ABSENT: _l("Not sent"),
}


@blueprint.get("/setup")
def show() -> str:
    """What is ready and what is missing; for administrators, all that the launch carried, and what waits for them."""
    return _show(None)


@blueprint.post("/setup/budget")
def set_budget() -> Response | tuple[str, int]:
    """Decide how many tokens the course may use in a month; with a mistake, the form comes back as it was typed."""
    identity = current_identity()
    identity.require(Right.ADMINISTER_PLATFORM)
    form = BudgetForm()  # type: ignore[no-untyped-call]
    if not form.validate():  # type: ignore[no-untyped-call]
        return _show(form), HTTPStatus.BAD_REQUEST
    budgets.set_budget(request_session(), identity, form.budget)
    flash(gettext("Saved. It holds from now on."), "success")
    return redirect(url_for(".show", _anchor="use"), 303)


@blueprint.post("/setup/deployments/<id:deployment_id>/approve")
def approve(deployment_id: int) -> Response:
    """Let a pending deployment in, with courses of its own or with those of another."""
    replaces_id = _posted_id("replaces") if request.form.get("replaces") else None
    approvals.approve(request_session(), current_identity(), current_launch(), deployment_id, replaces_id)
    flash(gettext("Approved. The tool opens there now."), "success")
    return redirect(url_for(".show"), 303)


@blueprint.post("/setup/deployments/<id:deployment_id>/refuse")
def refuse(deployment_id: int) -> Response:
    """Keep a pending deployment out."""
    approvals.refuse(request_session(), current_identity(), current_launch(), deployment_id)
    flash(gettext("Refused. The tool does not open there."), "success")
    return redirect(url_for(".show"), 303)


@blueprint.post("/setup/people/<id:kept_id>/link")
def link(kept_id: int) -> Response:
    """Make one person of two."""
    people.link_people(request_session(), current_identity(), kept_id, _posted_id("other"))
    flash(gettext("Linked. They are one person now."), "success")
    return redirect(url_for(".show"), 303)


def _show(form: BudgetForm | None) -> str:
    identity, session = current_identity(), request_session()
    facts = find_facts(session, identity, current_launch())
    features, use = checklist(facts), budgets.use_of(session, identity.course)
    if not identity.may(Right.ADMINISTER_PLATFORM):
        return render_template("lti/setup.html", features=features, use=use)
    return render_template(
        "lti/setup_administrator.html",
        features=features,
        use=use,
        budget_form=form or budget_form(use),
        facts=facts,
        scopes=scopes(facts),
        received=lay_out(facts.own, on_canvas=facts.on_canvas) if facts.own is not None else None,
        role_uses=ROLE_USES,
        field_states=FIELD_STATES,
        approvals=approvals.approvals_of(session, identity, current_launch()),
        pairs=people.people_to_link(session, identity),
    )


def _posted_id(name: str) -> int:
    found = request.form.get(name, 0, type=row_id)
    if not found:
        raise NotFoundError(log=f"{name} {request.form.get(name)!r:.50}")
    return found
