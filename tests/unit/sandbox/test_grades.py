"""Line items, scores and results."""

import pytest

from app.sandbox.gradebook import SUBMISSION, SUBMISSION_TYPE
from app.sandbox.scopes import LINE_ITEM, LINE_ITEM_READONLY, RESULT_READONLY, SCORE

ITEMS = "/api/lti/courses/1101/line_items"
ITEM_TYPE = "application/vnd.ims.lis.v2.lineitem+json"
SCORE_TYPE = "application/vnd.ims.lis.v1.score+json"


@pytest.fixture
def add_item(client, bearer):
    def add(**changes):
        body = {"label": "Lab interview", "scoreMaximum": 20, "resourceId": "exp-7", "tag": "chat", **changes}
        return client.post(ITEMS, json=body, headers=bearer(LINE_ITEM), content_type=ITEM_TYPE)

    return add


@pytest.fixture
def send(client, sandbox, bearer):
    def post(login="amara.diallo", item=1, content_type=SCORE_TYPE, **changes):
        body = {
            "userId": sandbox.person(login).sub,
            "scoreGiven": 8,
            "scoreMaximum": 10,
            "timestamp": "2026-02-03T10:00:00.000Z",
            "activityProgress": "Completed",
            "gradingProgress": "FullyGraded",
            **changes,
        }
        url = f"{ITEMS}/{item}/scores"
        return client.post(url, json=body, headers=bearer(SCORE), content_type=content_type)

    return post


def results_of(client, bearer, **query):
    return client.get(f"{ITEMS}/1/results", query_string=query, headers=bearer(RESULT_READONLY))


def test_line_item_is_made_read_changed_and_removed(client, bearer, add_item):
    made = add_item()
    assert (made.status_code, made.mimetype) == (201, ITEM_TYPE)
    url = made.json["id"].removeprefix("http://127.0.0.1:8100")
    headers = bearer(LINE_ITEM)
    assert client.get(url, headers=bearer(LINE_ITEM_READONLY)).json == made.json
    changed = client.put(url, json={"label": "Renamed"}, headers=headers, content_type=ITEM_TYPE)
    assert (changed.json["label"], changed.json["scoreMaximum"]) == ("Renamed", 20)
    assert client.delete(url, headers=headers).status_code == 204
    assert client.get(url, headers=headers).status_code == 404


def test_line_items_are_filtered_and_paged(client, bearer, add_item):
    for number in range(3):
        add_item(resourceId=f"exp-{number}")
    headers = bearer(LINE_ITEM_READONLY)
    listed = client.get(f"{ITEMS}?limit=2", headers=headers)
    assert listed.mimetype == "application/vnd.ims.lis.v2.lineitemcontainer+json"
    assert len(listed.json) == 2
    assert 'rel="next"' in listed.headers["Link"]
    (found,) = client.get(f"{ITEMS}?resource_id=exp-1&tag=chat", headers=headers).json
    assert found["resourceId"] == "exp-1"
    assert client.get(f"{ITEMS}?resource_link_id=none", headers=headers).json == []


def test_line_item_for_an_external_tool_gets_a_resource_link(add_item):
    made = add_item(
        **{SUBMISSION_TYPE: {"type": "external_tool", "external_tool_url": "http://localhost:8000/x"}}
    )
    assert made.json["resourceLinkId"]
    assert made.json[SUBMISSION_TYPE]["type"] == "external_tool"


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"label": ""}, 422),
        ({"label": None}, 422),
        ({"scoreMaximum": 0}, 422),
        ({"scoreMaximum": "20"}, 422),
        ({SUBMISSION_TYPE: "external_tool"}, 422),
        ({"resourceLinkId": "no such link"}, 404),
    ],
)
def test_bad_line_item_is_refused(add_item, change, status):
    assert add_item(**change).status_code == status


def test_line_item_without_a_maximum_is_refused(client, bearer):
    answer = client.post(ITEMS, json={"label": "x"}, headers=bearer(LINE_ITEM), content_type=ITEM_TYPE)
    assert (answer.status_code, answer.json["errors"]["message"]) == (422, "scoreMaximum is missing")


def test_wrong_content_type_and_broken_json_are_refused(client, bearer, add_item, send):
    headers = bearer(LINE_ITEM)
    assert client.post(ITEMS, json={}, headers=headers).status_code == 415
    assert client.post(ITEMS, data="{", headers=headers, content_type=ITEM_TYPE).status_code == 400
    assert client.post(ITEMS, json=[1], headers=headers, content_type=ITEM_TYPE).status_code == 400
    add_item()
    assert send(content_type="application/json").status_code == 415


@pytest.mark.parametrize(
    ("asked", "scope"),
    [
        (("POST", ITEMS), LINE_ITEM_READONLY),
        (("PUT", f"{ITEMS}/1"), LINE_ITEM_READONLY),
        (("DELETE", f"{ITEMS}/1"), LINE_ITEM_READONLY),
        (("POST", f"{ITEMS}/1/scores"), LINE_ITEM),
        (("GET", f"{ITEMS}/1/results"), SCORE),
    ],
)
def test_each_service_wants_its_own_scope(client, bearer, add_item, asked, scope):
    add_item()
    method, path = asked
    assert client.open(path, method=method, headers=bearer(scope)).status_code == 403
    assert client.open(path, method=method).status_code == 401


def test_score_is_scaled_and_kept_as_a_result(client, sandbox, bearer, add_item, send):
    add_item()
    taken = send(comment="Well asked")
    assert taken.status_code == 200
    listed = results_of(client, bearer)
    assert listed.mimetype == "application/vnd.ims.lis.v2.resultcontainer+json"
    (result,) = listed.json
    assert (result["resultScore"], result["resultMaximum"], result["comment"]) == (16, 20, "Well asked")
    assert result["userId"] == sandbox.person("amara.diallo").sub
    one = client.get(
        taken.json["resultUrl"].removeprefix("http://127.0.0.1:8100"), headers=bearer(RESULT_READONLY)
    )
    assert one.json == result
    assert results_of(client, bearer, user_id=sandbox.person("liam.oconnor").sub).json == []


def test_canvas_extension_is_stored_and_counts_attempts(sandbox, add_item, send):
    add_item()
    extension = {"submission_type": "basic_lti_launch", "submission_data": "http://localhost:8000/t/1"}
    send(**{SUBMISSION: extension})
    send(timestamp="2026-02-03T11:00:00Z", **{SUBMISSION: {**extension, "new_submission": False}})
    first, regrade = sandbox.scores
    assert first.submission == extension
    assert regrade.submission["new_submission"] is False
    result = sandbox.gradebook.result(sandbox.gradebook.line_item(sandbox.course(1101), 1), first.person)
    assert (result.attempt, result.launch_url) == (1, "http://localhost:8000/t/1")


def test_canvas_id_is_as_good_as_the_lti_id(add_item, send):
    add_item()
    assert send(userId="301").status_code == 200


@pytest.mark.parametrize("stamp", ["2026-02-03T09:59:59Z", "2026-02-03T10:00:00.000Z"])
def test_score_that_is_not_newer_is_400(add_item, send, stamp):
    add_item()
    send()
    refused = send(timestamp=stamp, scoreGiven=10)
    assert refused.status_code == 400
    assert "before last updated timestamp" in refused.json["errors"]["message"]


def test_grading_that_is_not_done_leaves_no_number(client, bearer, add_item, send):
    add_item()
    send(gradingProgress="Pending")
    (result,) = results_of(client, bearer).json
    assert "resultScore" not in result


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"login": "test.student.1101"}, 422),
        ({"login": "miriam.okafor"}, 422),
        ({"login": "mateus.silva"}, 422),
        ({"userId": "nobody"}, 404),
        ({"userId": None}, 422),
        ({"timestamp": "yesterday"}, 400),
        ({"timestamp": "2026-02-03T10:00:00"}, 400),
        ({"timestamp": 5}, 400),
        ({"activityProgress": "Done"}, 422),
        ({"gradingProgress": "Done"}, 422),
        ({"scoreGiven": -1}, 422),
        ({"scoreGiven": "8"}, 422),
        ({"scoreGiven": True}, 422),
        ({"scoreMaximum": None}, 422),
        ({"scoreMaximum": 0}, 422),
        ({SUBMISSION: "text"}, 422),
        ({SUBMISSION: {"submission_type": "carrier_pigeon"}}, 422),
        ({"item": 99}, 404),
    ],
)
def test_bad_score_is_refused_and_leaves_nothing(sandbox, add_item, send, change, status):
    add_item()
    assert send(**change).status_code == status
    assert sandbox.scores == ()


def test_removed_line_item_takes_no_scores_and_forgets_its_results(client, bearer, add_item, send):
    add_item()
    send()
    client.delete(f"{ITEMS}/1", headers=bearer(LINE_ITEM))
    assert send(timestamp="2026-02-03T12:00:00Z").status_code == 404
    assert results_of(client, bearer).status_code == 404
