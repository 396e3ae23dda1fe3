"""The form of an experience in a real browser: rows are added in place, and all of it is saved."""

from playwright.sync_api import Page, expect

from tests.browser.conftest import Demo, open_tool


def test_metrics_are_added_in_place_up_to_the_limit(page: Page, demo: Demo) -> None:
    tool = open_tool(page, demo, "miriam.okafor")
    tool.get_by_test_id("new-experience").click()
    tool.get_by_label("Title").fill("A rude customer")
    tool.get_by_label("Learning objective 1").fill("Stay calm")
    tool.get_by_label("Pedagogical guidance").fill("Be rude.")
    add = tool.get_by_role("button", name="Add metric")
    tool.get_by_role("group", name="Metric 1").get_by_label("Name").fill("Empathy")
    tool.get_by_role("group", name="Metric 1").get_by_label("Use it in evaluations").uncheck()
    for _ in range(4):
        add.click()
    expect(add).to_be_disabled()
    second = tool.get_by_role("group", name="Metric 2")
    expect(second.get_by_label("Name")).to_have_value("")
    expect(second.get_by_label("Use it in evaluations")).to_be_checked()
    second.get_by_label("Name").fill("Structure")
    second.get_by_label("What it looks at").fill("Is there a beginning and an end?")
    second.get_by_label("Students see it").check()
    tool.get_by_test_id("save").click()
    expect(tool.get_by_text("Structure (students see it)")).to_be_visible()
    tool.get_by_test_id("edit").click()
    first = tool.get_by_role("group", name="Metric 1")
    expect(first.get_by_label("Name")).to_have_value("Empathy")
    expect(first.get_by_label("Use it in evaluations")).not_to_be_checked()
    expect(tool.get_by_role("group", name="Metric 2").get_by_label("Name")).to_have_value("Structure")
