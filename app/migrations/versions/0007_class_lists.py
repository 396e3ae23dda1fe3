"""Indexes for the lists of large classes"""

import sqlalchemy as sa
from alembic import op

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None

_COUNTED = ['is_preview', 'workflow_state', 'all_objectives_met']


def upgrade() -> None:
    op.create_index('ix_enrollments_class', 'enrollments', ['course_id', 'role', 'is_test', 'workflow_state', 'user_id'])
    # PostgreSQL counts a class from the index alone.
    op.drop_index('ix_conversations_latest', 'conversations')
    op.create_index('ix_conversations_latest', 'conversations', ['experience_id', 'user_id', 'id'], postgresql_include=_COUNTED)


def downgrade() -> None:
    op.drop_index('ix_conversations_latest', 'conversations')
    op.create_index('ix_conversations_latest', 'conversations', ['experience_id', 'user_id', 'id'])
    op.drop_index('ix_enrollments_class', 'enrollments')
