"""Evaluation metrics of experiences, and indexes for lists"""

import sqlalchemy as sa
from alembic import op

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('experiences', schema=None) as batch_op:
        batch_op.add_column(sa.Column('evaluation_metrics', sa.JSON(), nullable=False, server_default='[]'))
        batch_op.add_column(sa.Column('max_turns', sa.Integer(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table('experiences', schema=None) as batch_op:
        batch_op.drop_column('max_turns')
        batch_op.drop_column('evaluation_metrics')
