"""What students say of replies is looked at too: its notice, and the flag's own copy of it"""

import sqlalchemy as sa
from alembic import op

revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('message_feedback', schema=None) as batch_op:
        batch_op.add_column(sa.Column('notice', sa.Enum('help', name='notice', native_enum=False, length=20), nullable=True))
    with op.batch_alter_table('flags', schema=None) as batch_op:
        batch_op.add_column(sa.Column('reason', sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table('flags', schema=None) as batch_op:
        batch_op.drop_column('reason')
    with op.batch_alter_table('message_feedback', schema=None) as batch_op:
        batch_op.drop_column('notice')
