"""The file that keeps state between two runs."""

import time

from pydantic import TypeAdapter

from app.sandbox.storage import WRITE_SECONDS, JsonFile


def opened(path):
    return JsonFile(path, TypeAdapter(dict[str, int]), dict)


def content_of(file):
    with file.reading() as content:
        return dict(content)


def test_a_change_is_written_by_itself_soon_and_at_once_when_saved(tmp_path):
    path = tmp_path / "state.json"
    file = opened(path)
    with file.changing() as content:
        content["a"] = 1
    until = time.monotonic() + 20 * WRITE_SECONDS
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert content_of(opened(path)) == {"a": 1}
    with file.changing() as content:
        content["b"] = 2
    file.save()
    assert content_of(opened(path)) == {"a": 1, "b": 2}
    assert [each.name for each in tmp_path.iterdir()] == ["state.json"]


def test_only_the_owner_reads_it(tmp_path):
    file = opened(tmp_path / "state.json")
    with file.changing() as content:
        content["a"] = 1
    file.save()
    assert (tmp_path / "state.json").stat().st_mode & 0o077 == 0


def test_nothing_is_written_where_nothing_changed(tmp_path):
    opened(tmp_path / "state.json").save()
    assert not (tmp_path / "state.json").exists()
