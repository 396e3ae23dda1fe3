"""Counting what models take beside what they are asked for: noted at once, in the database within a second."""

import logging
import threading
import time

from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from app.database import Database
from app.usage.budgets import Tokens, record_tokens

logger = logging.getLogger(__name__)
STORE_EVERY = 1.0


class TokenMeter:
    """What the models of this process have taken, by experience.

    Replies that end together are counted together, by one statement an experience, and none waits to be counted. A
    process that is killed loses what was noted in its last second.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted: dict[int, tuple[Tokens, Tokens]] = {}
        self._lock = threading.Lock()
        self._storing = False

    def note(self, experience_id: int, *taken: Tokens) -> None:
        """Count what attempts of models at something about an experience took."""
        counted, estimated = (
            sum(each.used for each in taken if each.estimated is told) for told in (False, True)
        )
        if not counted and not estimated:
            return
        with self._lock:
            self._add(experience_id, Tokens(counted), Tokens(estimated, estimated=True))
            begin, self._storing = not self._storing, True
        if begin:
            threading.Thread(target=self._store_what_comes, name="token-meter", daemon=True).start()

    def store(self) -> None:
        """Write what was noted. Raises `SQLAlchemyError`; what a database that fails has not taken is kept."""
        with self._lock:
            noted, self._noted = self._noted, {}
        try:
            while noted:
                self._store(*noted.popitem())
        finally:
            with self._lock:
                for experience_id, taken in noted.items():
                    self._add(experience_id, *taken)

    def _store(self, experience_id: int, taken: tuple[Tokens, Tokens]) -> None:
        """Write by itself what was taken for one experience: whoever holds a course's row waits for no other."""
        try:
            with self._database.statements() as session:
                record_tokens(session, experience_id, *taken)
        except (OperationalError, NoConnectionError):
            with self._lock:
                self._add(experience_id, *taken)
            raise

    def _add(self, experience_id: int, counted: Tokens, estimated: Tokens) -> None:
        before = self._noted.get(experience_id, (Tokens(0), Tokens(0, estimated=True)))
        self._noted[experience_id] = (
            Tokens(before[0].used + counted.used),
            Tokens(before[1].used + estimated.used, estimated=True),
        )

    def _store_what_comes(self) -> None:
        while True:
            time.sleep(STORE_EVERY)
            try:
                self.store()
            except Exception:
                logger.exception("what models took could not be counted")
            with self._lock:
                if not self._noted:
                    self._storing = False
                    return
