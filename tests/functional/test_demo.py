"""The demo never runs against a production configuration, and its seeds hold the tool's own rules."""

from pathlib import Path

import pytest
from flask import Flask
from sqlmodel import Session, select

from app.conversations.models import Conversation, Message, ObjectiveMark
from app.conversations.progress import progress_of
from app.experiences.models import Experience
from app.experiences.rules import check_fields
from app.llm.interface import Speaker
from app.llm.scripted import Script
from app.lti.models import Platform
from app.sandbox import Sandbox
from app.sandbox.demo import DemoError, plan_demo
from app.sandbox.seed import read_seeds, seed_course, seed_sandbox
from app.settings import Settings
from tests.support.people import EXPERIENCE, Visitor


def test_production_is_refused() -> None:
    settings = Settings(
        _env_file=None, app_url="https://ai.example.edu", secret_key="x" * 32, llm_provider="scripted"
    )
    with pytest.raises(DemoError, match="this machine only"):
        plan_demo(settings, 8000, 8100)


def test_the_configured_database_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings(_env_file=None, database_url="postgresql+psycopg://somewhere/real")
    demo = plan_demo(settings, 8000, 8100)
    assert demo.settings.database_url == f"sqlite:///{tmp_path}/instance/demo.db"


def test_seeds_hold_the_rules_and_the_embedded_models_limits() -> None:
    for seed in read_seeds():
        fields = {name: value for name, value in seed.experience.items() if name != "script"}
        check_fields(fields)
        assert seed.experience["opening_line"]
        assert len(seed.experience["facts"]) < 1_000


def test_seeds_have_words_for_each_objective() -> None:
    for seed in read_seeds():
        script = Script.model_validate(seed.experience["script"])
        assert len(script.objectives) == len(seed.experience["learning_objectives"])


def test_seeded_conversations_show_progress_with_proof(db: Session) -> None:
    seed_sandbox(db, db.exec(select(Platform.id)).one())
    conversations = db.exec(select(Conversation).order_by(Conversation.id)).all()
    marks = db.exec(
        select(ObjectiveMark, Message).join(Message, Message.id == ObjectiveMark.message_id)
    ).all()
    progress = progress_of(db, conversations)
    assert [progress[conversation.id].current for conversation in conversations] == [4, 2, 1, 3, 0]
    assert [conversation.all_objectives_met for conversation in conversations] == [True, *[False] * 4]
    assert all(mark.quote in message.text and message.speaker is Speaker.STUDENT for mark, message in marks)


def test_seeding_twice_changes_nothing(db: Session) -> None:
    platform_id = db.exec(select(Platform.id)).one()
    seed_sandbox(db, platform_id)
    counts = [len(db.exec(select(table)).all()) for table in (Experience, Conversation, Message)]
    seed_sandbox(db, platform_id)
    assert [len(db.exec(select(table)).all()) for table in (Experience, Conversation, Message)] == counts
    assert min(counts) >= 3


def test_an_edited_seed_loses_its_script(app: Flask, sandbox: Sandbox) -> None:
    with app.extensions["database"].transaction() as db:
        seed_sandbox(db, db.exec(select(Platform.id)).one())
        experience = db.exec(select(Experience)).first()
        assert experience is not None and experience.script
    teacher = Visitor.launch(app, sandbox, "miriam.okafor")
    teacher.post(f"/experiences/{experience.id}", EXPERIENCE)
    with app.extensions["database"].transaction() as db:
        assert db.get_one(Experience, experience.id).script is None


def test_a_course_of_any_size_can_be_seeded(db: Session) -> None:
    seed_course(db, db.exec(select(Platform.id)).one(), "77", students=5)
    assert len(db.exec(select(Experience)).all()) == len(read_seeds())
