"""Feedback on replies, and what people and courses use"""

import sqlalchemy as sa
from alembic import op

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('message_feedback',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('message_id', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('vote', sa.Enum('liked', 'disliked', name='vote', native_enum=False, length=20), nullable=False),
    sa.Column('feedback_message', sa.Text(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['message_id'], ['messages.id'], name=op.f('fk_message_feedback_message_id_messages')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_message_feedback_user_id_users')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_message_feedback')),
    sa.UniqueConstraint('message_id', 'user_id', name=op.f('uq_message_feedback_message_id_user_id'))
    )
    op.create_table('uses',
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('kind', sa.String(20), nullable=False),
    sa.Column('begins_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('count', sa.Integer(), nullable=False),
    sa.PrimaryKeyConstraint('user_id', 'kind', name=op.f('pk_uses'))
    )
    op.create_table('course_budgets',
    sa.Column('course_id', sa.Integer(), nullable=False),
    sa.Column('tokens', sa.BigInteger(), nullable=False),
    sa.Column('updated_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['course_id'], ['courses.id'], name=op.f('fk_course_budgets_course_id_courses')),
    sa.PrimaryKeyConstraint('course_id', name=op.f('pk_course_budgets'))
    )
    op.create_table('course_tokens',
    sa.Column('course_id', sa.Integer(), nullable=False),
    sa.Column('month', sa.Date(), nullable=False),
    sa.Column('part', sa.Integer(), nullable=False),
    sa.Column('used', sa.BigInteger(), nullable=False),
    sa.Column('estimated', sa.BigInteger(), nullable=False),
    sa.ForeignKeyConstraint(['course_id'], ['courses.id'], name=op.f('fk_course_tokens_course_id_courses')),
    sa.PrimaryKeyConstraint('course_id', 'month', 'part', name=op.f('pk_course_tokens'))
    )


def downgrade() -> None:
    op.drop_table('course_tokens')
    op.drop_table('course_budgets')
    op.drop_table('uses')
    op.drop_table('message_feedback')
