"""Evaluations of conversations: how well a student did, with moments that prove it.

One is made at a time for each conversation, whoever asks and in whichever process: a lease in the database says that
it is being made, and a process that dies stops renewing it.
"""

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import inf
from typing import Any
from uuid import uuid4

from flask_babel import lazy_gettext as _l
from sqlalchemy import func, or_, update
from sqlalchemy.exc import NoResultFound, SQLAlchemyError
from sqlmodel import Session, col, select

from app.conversations.evaluator import evaluate
from app.conversations.models import Conversation, EvaluationRecord, Message, MessageState
from app.conversations.progress import decisions_of
from app.conversations.prompt import EVALUATOR_VERSION
from app.conversations.safety.safety import Safety
from app.conversations.service import messages_of
from app.conversations.structured import UnansweredError
from app.database import Database, patiently, upsert, utc_now
from app.errors import AppError, ConflictError
from app.identity import Identity, Right
from app.llm.demo import Demo, demo_named
from app.llm.interface import ModelAdapter, ModelErrorCode, ModelStatus, Speaker
from app.usage.allowances import Kind, spend
from app.usage.budgets import require_budget
from app.usage.meter import TokenMeter

logger = logging.getLogger(__name__)
LEASE = timedelta(seconds=20)
RENEW_EVERY = 5.0
POLL_EVERY = 0.5
BROKEN_OFF = "interrupted"


class NothingToEvaluateError(ConflictError):
    """Evaluating a conversation in which the student has said nothing."""

    code = "nothing_to_evaluate"
    title = _l("There is nothing to evaluate")
    message = _l("The student has not written anything yet.")


class EvaluationFailedError(AppError):
    """The model did not give an evaluation. An earlier one stays as it was."""

    status = 503
    retryable = True
    title = _l("The evaluation was not made")
    message = _l("The AI did not answer as it should. Try again in a moment.")

    def __init__(self, code: str) -> None:
        super().__init__(log=code)
        self.code = code
        self.retryable = code != ModelErrorCode.REFUSED


@dataclass(frozen=True, slots=True)
class Evaluation:
    """An evaluation that was made.

    ``stale`` says that the conversation has moved on since, or that a teacher has decided on an objective.

    ``result`` has the shape of the REST API: overall_assessment, overall_score, strengths, areas_for_improvement,
    key_moments, learning_objectives_evaluation and evaluation_metrics. Scores are 0 to 100.
    """

    result: dict[str, Any]
    model: str
    prompt_version: str
    created_at: datetime
    stale: bool

    @property
    def demo(self) -> Demo | None:
        """What kind of a demo model has made it; None for a real one."""
        return demo_named(self.model)


@dataclass(frozen=True, slots=True)
class Desk:
    """How it stands with a conversation's evaluation: the latest; if one is being made; why the last one failed."""

    evaluation: Evaluation | None = None
    under_way: bool = False
    error_code: str | None = None


def evaluation_of(session: Session, conversation: Conversation) -> Evaluation | None:
    """Return the latest evaluation of a conversation; None where none was made. One query."""
    return desk_of(session, conversation).evaluation


def desk_of(session: Session, conversation: Conversation) -> Desk:
    """Return how it stands with a conversation's evaluation. One query."""
    newest = (
        select(func.max(Message.id))
        .where(Message.conversation_id == conversation.id, Message.state == MessageState.COMPLETE)
        .scalar_subquery()
    )
    found = session.exec(
        select(EvaluationRecord, newest).where(EvaluationRecord.conversation_id == conversation.id)
    ).first()
    if found is None:
        return Desk()
    record, newest_id = found
    under_way = record.lease_until is not None and record.lease_until > utc_now()
    broken_off = record.lease_until is not None and not under_way
    return Desk(
        evaluation=_as_evaluation(record, newest_id or 0, conversation.decisions),
        under_way=under_way,
        error_code=BROKEN_OFF if broken_off else record.error_code,
    )


class Evaluations:
    """Makes evaluations, for those who may read the conversation: that is for the caller to find out."""

    def __init__(self, database: Database, model: ModelAdapter, safety: Safety, meter: TokenMeter) -> None:
        self._database, self._model, self._safety, self._meter = database, model, safety, meter

    def status(self) -> ModelStatus:
        """Say which model evaluates."""
        return self._model.status()

    def evaluate(self, identity: Identity, conversation_id: int) -> Evaluation:
        """Make an evaluation, or wait for the one that is being made.

        Takes as long as the model; no database connection is held meanwhile. Raises an `AppError`:
        `NothingToEvaluateError`, one of the limits', or `EvaluationFailedError`.
        """
        if claim := self._claim(identity, conversation_id):
            self._make(conversation_id, claim)
        while (desk := self._desk(conversation_id)).under_way:
            time.sleep(POLL_EVERY)
        if desk.error_code or desk.evaluation is None:
            raise EvaluationFailedError(desk.error_code or BROKEN_OFF)
        return desk.evaluation

    def begin(self, identity: Identity, conversation_id: int) -> None:
        """Have an evaluation made by a thread of its own, unless one is being made.

        Raises an `AppError`: `NothingToEvaluateError`, or one of the limits'.
        """
        if claim := self._claim(identity, conversation_id):
            name = f"evaluation-{conversation_id}"
            threading.Thread(target=self._make, args=(conversation_id, claim), name=name, daemon=True).start()

    def _claim(self, identity: Identity, conversation_id: int) -> str | None:
        """Take on making the evaluation, and return by what that is told; None where somebody is at it already."""
        identity.require(Right.READ_TRANSCRIPTS)
        claim = uuid4().hex
        free = or_(col(EvaluationRecord.lease_until).is_(None), col(EvaluationRecord.lease_until) < utc_now())
        with self._database.transaction() as session:
            conversation = session.get_one(Conversation, conversation_id)
            _require_student(session, conversation)
            try:
                upsert(
                    session,
                    EvaluationRecord,
                    key={"conversation_id": conversation_id},
                    values={"lease_until": utc_now() + LEASE, "error_code": None, "claim": claim},
                    where=free,
                )
            except NoResultFound:
                return None
            require_budget(session, conversation.experience_id)
            spend(session, identity.user.id, Kind.EVALUATION)
        return claim

    def _make(self, conversation_id: int, claim: str) -> None:
        """Make the evaluation that was claimed, and store it or why it failed. Never raises."""
        with self._renewing(claim):
            outcome = self._outcome(conversation_id)
        what = f"the evaluation of conversation {conversation_id}"
        try:
            patiently(lambda: self._store(claim, outcome), what)
        except SQLAlchemyError:
            # Its lease runs out, and another can be asked for.
            logger.exception("%s could not be stored", what)

    def _outcome(self, conversation_id: int) -> dict[str, Any]:
        """Evaluate; return the columns that tell how it ended."""
        try:
            return self._evaluate(conversation_id)
        except UnansweredError as error:
            logger.warning("conversation %s was not evaluated: %s", conversation_id, error)
            return {"error_code": error.code}
        except Exception:
            logger.exception("conversation %s was not evaluated", conversation_id)
            return {"error_code": AppError.code}

    def _evaluate(self, conversation_id: int) -> dict[str, Any]:
        with self._database.snapshot() as session:
            conversation = session.get_one(Conversation, conversation_id)
            messages, decisions = messages_of(session, conversation), decisions_of(session, conversation)
        try:
            evaluated = evaluate(self._model, conversation, messages, decisions)
        except UnansweredError as error:
            self._meter.note(conversation.experience_id, *error.tokens)
            raise
        self._meter.note(conversation.experience_id, *evaluated.tokens)
        self._keep_from_learners(evaluated.result["evaluation_metrics"], conversation_id)
        whole = {message.id for message in messages if message.state is MessageState.COMPLETE}
        # What ends later than a message after it was not seen, though its id is smaller.
        under_way = {message.id for message in messages if message.state is MessageState.GENERATING}
        seen = [message_id for message_id in whole if message_id < min(under_way, default=inf)]
        return {
            "result": evaluated.result,
            "until_message_id": max(seen, default=0),
            "until_decision": conversation.decisions,
            "model": evaluated.model,
            "prompt_version": EVALUATOR_VERSION,
            "created_at": utc_now(),
        }

    def _keep_from_learners(self, metrics: Sequence[dict[str, Any]], conversation_id: int) -> None:
        """Leave to teachers what a model says of a metric that no student should read."""
        for metric in metrics:
            findings = self._safety.look_at(metric["explanation"], Speaker.PERSONA)
            if metric["visible_to_learners"] and any(finding.is_high for finding in findings):
                logger.warning("a metric of conversation %s is not shown to the student", conversation_id)
                metric["visible_to_learners"] = False

    @contextmanager
    def _renewing(self, claim: str) -> Iterator[None]:
        """Renew the lease as long as the block runs."""
        done = threading.Event()

        def renew() -> None:
            while not done.wait(RENEW_EVERY):
                try:
                    with self._database.transaction() as session:
                        _update(session, claim, {"lease_until": utc_now() + LEASE})
                except SQLAlchemyError:
                    logger.exception("a lease was not renewed")

        renewer = threading.Thread(target=renew, name=f"evaluation-lease-{claim}", daemon=True)
        renewer.start()
        try:
            yield
        finally:
            done.set()
            renewer.join()

    def _store(self, claim: str, outcome: dict[str, Any]) -> None:
        with self._database.transaction() as session:
            _update(session, claim, outcome | {"lease_until": None})

    def _desk(self, conversation_id: int) -> Desk:
        with self._database.snapshot() as session:
            return desk_of(session, session.get_one(Conversation, conversation_id))


def _update(session: Session, claim: str, values: dict[str, Any]) -> None:
    """Write into the evaluation that was claimed, unless somebody else has claimed it since."""
    session.execute(update(EvaluationRecord).where(col(EvaluationRecord.claim) == claim).values(**values))


def _require_student(session: Session, conversation: Conversation) -> None:
    spoken = select(Message.id).where(
        Message.conversation_id == conversation.id, Message.speaker == Speaker.STUDENT
    )
    if session.exec(spoken.limit(1)).first() is None:
        raise NothingToEvaluateError(log=f"conversation {conversation.id}")


def _as_evaluation(record: EvaluationRecord, newest: int, decisions: int) -> Evaluation | None:
    if record.result is None or record.created_at is None:
        return None
    return Evaluation(
        result=record.result,
        model=record.model or "",
        prompt_version=record.prompt_version or "",
        created_at=record.created_at,
        stale=newest > (record.until_message_id or 0) or decisions > record.until_decision,
    )
