"""Counting what models take beside what they are asked for: noted at once, in the database within a second."""

import logging
import threading
import time
from collections import Counter

from app.database import PASSING, Database
from app.usage.budgets import Tokens, record_tokens

logger = logging.getLogger(__name__)
STORE_EVERY = 1.0


class TokenMeter:
    """What the models of this process have taken, by experience and by whether it is an estimate.

    Replies that end together are counted together, and none waits to be counted. A process that is killed loses what
    was noted in its last second.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._noted: Counter[tuple[int, bool]] = Counter()
        self._changing, self._writing = threading.Lock(), threading.Lock()
        self._waits = False

    def note(self, experience_id: int, *taken: Tokens) -> None:
        """Count what attempts of models at something about an experience took."""
        used = Counter[tuple[int, bool]]()
        for each in taken:
            used[experience_id, each.estimated] += each.used
        if not used.total():
            return
        with self._changing:
            self._noted.update(used)
            begin, self._waits = not self._waits, True
        if begin:
            threading.Thread(target=self._store_what_comes, name="token-meter", daemon=True).start()

    def store(self) -> None:
        """Write what was noted, and wait for whoever is at it.

        Raises `SQLAlchemyError`; what a database that fails for a moment has not taken is kept.
        """
        with self._writing:
            with self._changing:
                noted, self._noted = self._noted, Counter()
            try:
                while noted:
                    self._store_one(noted)
            finally:
                with self._changing:
                    self._noted.update(noted)

    def _store_one(self, noted: Counter[tuple[int, bool]]) -> None:
        """Take out what is written, by itself: whoever holds a course's row waits for no other."""
        (experience_id, estimated), used = noted.popitem()
        try:
            with self._database.statements() as session:
                record_tokens(session, experience_id, Tokens(used, estimated))
        except PASSING:
            noted[experience_id, estimated] = used
            raise

    def _store_what_comes(self) -> None:
        while True:
            time.sleep(STORE_EVERY)
            try:
                self.store()
            except Exception:
                logger.exception("what models took could not be counted")
            with self._changing:
                if not self._noted:
                    self._waits = False
                    return
