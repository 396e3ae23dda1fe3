"""Flags for teachers, and what the tool says to students about their messages"""

import sqlalchemy as sa
from alembic import op

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('messages', schema=None) as batch_op:
        batch_op.add_column(sa.Column('notice', sa.Enum('help', name='notice', native_enum=False, length=20), nullable=True))

    op.create_table('flags',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('message_id', sa.Integer(), nullable=False),
    sa.Column('conversation_id', sa.Integer(), nullable=False),
    sa.Column('category', sa.Enum('self_harm', 'violence', 'abuse', 'recital', name='category', native_enum=False, length=20), nullable=False),
    sa.Column('severity', sa.Enum('low', 'high', name='severity', native_enum=False, length=20), nullable=False),
    sa.Column('excerpt_start', sa.Integer(), nullable=False),
    sa.Column('excerpt_end', sa.Integer(), nullable=False),
    sa.Column('withheld', sa.Text(), nullable=True),
    sa.Column('workflow_state', sa.Enum('open', 'resolved', name='flagstate', native_enum=False, length=20), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('resolved_by_id', sa.Integer(), nullable=True),
    sa.Column('resolved_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('note', sa.Text(), nullable=False),
    sa.ForeignKeyConstraint(['conversation_id'], ['conversations.id'], name=op.f('fk_flags_conversation_id_conversations')),
    sa.ForeignKeyConstraint(['message_id'], ['messages.id'], name=op.f('fk_flags_message_id_messages')),
    sa.ForeignKeyConstraint(['resolved_by_id'], ['users.id'], name=op.f('fk_flags_resolved_by_id_users')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_flags')),
    sa.UniqueConstraint('message_id', 'category', name=op.f('uq_flags_message_id_category'))
    )
    op.create_index(op.f('ix_flags_conversation_id'), 'flags', ['conversation_id'])


def downgrade() -> None:
    op.drop_index(op.f('ix_flags_conversation_id'), table_name='flags')
    op.drop_table('flags')
    with op.batch_alter_table('messages', schema=None) as batch_op:
        batch_op.drop_column('notice')
