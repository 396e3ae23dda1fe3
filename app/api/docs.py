"""The API's documents: the OpenAPI document, and a page that shows it with Swagger UI."""

from importlib.resources import files

from flask import Blueprint, Response, render_template, request
from werkzeug.wrappers import Response as BaseResponse

from app.api.endpoints import PREFIX
from app.api.openapi import openapi_json
from app.web import STATIC_SECONDS, current_settings

_SWAGGER = files("flask_openapi3_swagger") / "templates" / "swagger"

blueprint = Blueprint("api_docs", __name__, static_folder=str(_SWAGGER), static_url_path="/static/swagger-ui")


@blueprint.get(f"{PREFIX}/openapi.json")
def openapi() -> BaseResponse:
    """Answer with the OpenAPI document; it changes only with the tool's version."""
    response = Response(openapi_json(current_settings().app_url), mimetype="application/json")
    response.cache_control.public = True
    response.cache_control.max_age = STATIC_SECONDS
    response.add_etag()
    return response.make_conditional(request)


@blueprint.get(f"{PREFIX}/docs")
def docs() -> str:
    """Show the document as a page on which endpoints can be tried."""
    return render_template("api/docs.html")
