"""Where the files that come with the tool lie: beside `app/` in a checkout, inside it in an installed wheel."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
MIGRATIONS = PACKAGE / "migrations"


def templates_dir() -> Path:
    """Folder of the Jinja templates."""
    return _shipped("templates")


def shipped_tool_config() -> Path:
    """The `tool_config.json` that comes with the tool, a form for an administrator to fill in."""
    return _shipped("tool_config.json")


def _shipped(name: str) -> Path:
    in_wheel = PACKAGE / name
    return in_wheel if in_wheel.exists() else PACKAGE.parent / name
