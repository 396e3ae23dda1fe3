"""Resource links: the places in a course from which a tool is opened."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

from pydantic import TypeAdapter

from app.sandbox.people import Course
from app.sandbox.placements import Place
from app.sandbox.storage import JsonFile

LINKS_FILE = "links.json"


@dataclass(frozen=True, slots=True)
class ResourceLink:
    """One link. ``copied_from`` are the links that it is a copy of, the nearest first.

    ``client_id`` is None for a link of the configured tool. A link that does not ``launch`` is a plain one, as
    deep linking's type `link` makes it.
    """

    id: str
    course_id: int
    place: Place
    title: str
    url: str
    text: str = ""
    custom: Mapping[str, str] = field(default_factory=dict)
    client_id: str | None = None
    launches: bool = True
    copied_from: tuple[str, ...] = ()


class ResourceLinks:
    """All links of one sandbox, kept in a file."""

    def __init__(self, folder: Path) -> None:
        self._file: JsonFile[dict[str, ResourceLink]] = JsonFile(
            folder / LINKS_FILE, TypeAdapter(dict[str, ResourceLink]), dict
        )

    def add(
        self,
        course: Course,
        *,
        title: str,
        url: str,
        place: Place = Place.MODULES,
        text: str = "",
        custom: Mapping[str, str] | None = None,
        client_id: str | None = None,
        launches: bool = True,
    ) -> ResourceLink:
        """Make a link in a course."""
        link = ResourceLink(
            str(uuid4()), course.canvas_id, place, title, url, text, custom or {}, client_id, launches
        )
        return self._keep(link)

    def find(self, course: Course, link_id: str | None) -> ResourceLink | None:
        """A link of this course."""
        with self._file.reading() as links:
            link = links.get(link_id or "")
        return link if link is not None and link.course_id == course.canvas_id else None

    def of(self, course: Course, place: Place | None = None) -> list[ResourceLink]:
        """A course's links, in one place or in all, oldest first."""
        with self._file.reading() as links:
            return [
                link
                for link in links.values()
                if link.course_id == course.canvas_id and place in {None, link.place}
            ]

    def copy(self, source: Course, target: Course) -> dict[str, ResourceLink]:
        """Copy the links that the target has no copy of yet, with their addresses as they are; by their old ids."""
        known = {link.copied_from[0] for link in self.of(target) if link.copied_from}
        return {link.id: self._copy(link, target) for link in self.of(source) if link.id not in known}

    def save(self) -> None:
        """Write the file now; it is written soon in any case."""
        self._file.save()

    def _copy(self, link: ResourceLink, target: Course) -> ResourceLink:
        history = (link.id, *link.copied_from)
        return self._keep(replace(link, id=str(uuid4()), course_id=target.canvas_id, copied_from=history))

    def _keep(self, link: ResourceLink) -> ResourceLink:
        with self._file.changing() as links:
            links[link.id] = link
        return link
