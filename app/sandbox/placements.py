"""Where in Canvas a tool can be put, and what can be made there by deep linking."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

COURSE_NAVIGATION = "course_navigation"


class Place(StrEnum):
    """The pages of a course that hold links to a tool."""

    ASSIGNMENTS = "assignments"
    MODULES = "modules"
    PAGE = "page"


@dataclass(frozen=True, slots=True)
class Placement:
    """What deep linking from one placement makes and takes (LTI Deep Linking 2.0, section 2.3)."""

    place: Place
    accept_types: tuple[str, ...] = ("ltiResourceLink",)
    document_targets: tuple[str, ...] = ("iframe", "window")
    media_types: str = "application/vnd.ims.lti.v1.ltilink"
    accept_multiple: bool = False
    accept_lineitem: bool = False
    auto_create: bool = False


PLACEMENTS: Mapping[str, Placement] = {
    "assignment_selection": Placement(Place.ASSIGNMENTS, accept_lineitem=True),
    "link_selection": Placement(Place.MODULES, accept_multiple=True),
    "module_index_menu_modal": Placement(
        Place.MODULES, accept_multiple=True, accept_lineitem=True, auto_create=True
    ),
    "editor_button": Placement(
        Place.PAGE,
        accept_types=("ltiResourceLink", "link"),
        document_targets=("embed", "iframe", "window"),
        media_types="application/vnd.ims.lti.v1.ltilink,*/*",
        accept_multiple=True,
    ),
}
