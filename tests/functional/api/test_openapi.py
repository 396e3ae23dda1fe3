"""The API's documents, as the running tool serves them."""

import re
from urllib.parse import urlsplit

from bs4 import BeautifulSoup
from flask import Flask
from flask.testing import FlaskClient

OPENAPI = "/api/v1/openapi.json"
DOCS = "/api/v1/docs"
# Paths that are no endpoints of their own.
DOCUMENTS = {OPENAPI, DOCS}


def test_every_route_of_the_api_is_documented_and_the_other_way_round(
    app: Flask, client: FlaskClient
) -> None:
    documented = {
        (path, method.upper())
        for path, item in client.get(OPENAPI).json["paths"].items()
        for method in item
        if method != "parameters"
    }
    assert documented == _routes(app, "api")
    assert {(f"/launches/{{launch_id}}{path}", method) for path, method in documented} == _routes(
        app, "launch_api"
    )
    strays = {rule.rule for rule in app.url_map.iter_rules() if rule.rule.startswith("/api/")} - DOCUMENTS
    assert strays == {
        rule.rule for rule in app.url_map.iter_rules() if rule.endpoint.partition(".")[0] == "api"
    }


def _routes(app: Flask, blueprint: str) -> set[tuple[str, str]]:
    """Return the paths that a blueprint answers, as OpenAPI writes them, with each of their methods."""
    return {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule).replace("{experience_id}", "{id}"), method)
        for rule in app.url_map.iter_rules()
        if rule.endpoint.partition(".")[0] == blueprint and not rule.rule.endswith(".json")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }


def test_every_path_may_end_in_json(app: Flask) -> None:
    rules = {rule.rule for rule in app.url_map.iter_rules() if rule.endpoint.startswith("api.")}
    plain = {rule for rule in rules if not rule.endswith(".json")}
    assert rules == plain | {f"{rule}.json" for rule in plain}


def test_the_addresses_of_tokens_are_there(app: Flask) -> None:
    rules = {rule.rule for rule in app.url_map.iter_rules()}
    assert {"/login/oauth2/token", "/login/oauth2/auth"} <= rules


def test_the_document_may_be_kept_for_a_while_and_is_not_sent_twice(client: FlaskClient) -> None:
    first = client.get(OPENAPI)
    assert first.mimetype == "application/json"
    assert first.cache_control.public
    assert first.cache_control.max_age == 3600
    again = client.get(OPENAPI, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_the_page_takes_everything_from_the_tool_and_has_no_script_of_its_own(client: FlaskClient) -> None:
    page = BeautifulSoup(client.get(DOCS).text, "html.parser")
    scripts = page.select("script")
    addresses = [
        str(each.get("src") or each["href"]) for each in page.select("[src], link[href], main a[href]")
    ]
    assert [each for each in scripts if each.text] == []
    assert {f"{address[0]}{urlsplit(address).netloc}" for address in addresses} == {"/"}
    for address in addresses:
        with client.get(address) as response:
            assert response.status_code == 200, address


def test_the_home_page_leads_to_it(client: FlaskClient) -> None:
    assert BeautifulSoup(client.get("/").text, "html.parser").select_one(f"a[href='{DOCS}']")
