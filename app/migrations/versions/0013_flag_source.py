"""A flag for each source: a message's text, what was withheld of it, a reason for disliking it"""

import sqlalchemy as sa
from alembic import op

revision = '0013'
down_revision = '0012'
branch_labels = None
depends_on = None

_SOURCE = sa.Enum('text', 'replaced', 'withheld', 'reason', name='source', native_enum=False, length=20)
_FILL = """
    UPDATE flags SET source = CASE
        WHEN reason IS NOT NULL THEN 'reason'
        WHEN withheld IS NOT NULL THEN 'withheld'
        ELSE 'text'
    END
"""
# Of several flags of a category, the one stays that is open, then the gravest, then the newest: open stands before
# resolved, and high before low, in the alphabet too.
_KEEP_ONE = """
    DELETE FROM flags WHERE id NOT IN (
        SELECT id FROM (
            SELECT id, row_number() OVER (
                PARTITION BY message_id, category ORDER BY workflow_state, severity, id DESC
            ) AS place FROM flags
        ) AS ranked WHERE place = 1
    )
"""


def upgrade() -> None:
    with op.batch_alter_table('flags', schema=None) as batch_op:
        batch_op.add_column(sa.Column('source', _SOURCE, nullable=True))
    op.execute(_FILL)
    with op.batch_alter_table('flags', schema=None) as batch_op:
        batch_op.alter_column('source', existing_type=_SOURCE, nullable=False)
        batch_op.drop_constraint(batch_op.f('uq_flags_message_id_category'), type_='unique')
        batch_op.create_unique_constraint(
            batch_op.f('uq_flags_message_id_category_source'), ['message_id', 'category', 'source']
        )


def downgrade() -> None:
    op.execute(_KEEP_ONE)
    with op.batch_alter_table('flags', schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f('uq_flags_message_id_category_source'), type_='unique')
        batch_op.create_unique_constraint(batch_op.f('uq_flags_message_id_category'), ['message_id', 'category'])
        batch_op.drop_column('source')
