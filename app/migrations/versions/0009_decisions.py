"""How many decisions of teachers a conversation has seen, and its evaluation has heeded"""

import sqlalchemy as sa
from alembic import op

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('conversations', schema=None) as batch_op:
        batch_op.add_column(sa.Column('decisions', sa.Integer(), nullable=False, server_default='0'))
    with op.batch_alter_table('evaluations', schema=None) as batch_op:
        batch_op.add_column(sa.Column('until_decision', sa.Integer(), nullable=False, server_default='0'))

    # No evaluation so far has heeded any: where there are some, it is out of date.
    op.execute(
        'UPDATE conversations SET decisions ='
        ' (SELECT count(*) FROM objective_marks WHERE conversation_id = conversations.id AND decided_by_id IS NOT NULL)'
        ' WHERE id IN (SELECT conversation_id FROM objective_marks WHERE decided_by_id IS NOT NULL)'
    )


def downgrade() -> None:
    with op.batch_alter_table('evaluations', schema=None) as batch_op:
        batch_op.drop_column('until_decision')
    with op.batch_alter_table('conversations', schema=None) as batch_op:
        batch_op.drop_column('decisions')
