"""Progress by objective, evaluations, and flags"""

import sqlalchemy as sa
from alembic import op

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('conversations', schema=None) as batch_op:
        batch_op.add_column(sa.Column('all_objectives_met', sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column('judged_until', sa.Integer(), nullable=False, server_default='0'))

    op.create_table('objective_marks',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('conversation_id', sa.Integer(), nullable=False),
    sa.Column('position', sa.Integer(), nullable=False),
    sa.Column('covered', sa.Boolean(), nullable=False),
    sa.Column('message_id', sa.Integer(), nullable=True),
    sa.Column('quote', sa.Text(), nullable=True),
    sa.Column('model', sa.String(200), nullable=True),
    sa.Column('prompt_version', sa.String(20), nullable=True),
    sa.Column('decided_by_id', sa.Integer(), nullable=True),
    sa.Column('decided_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['conversation_id'], ['conversations.id'], name=op.f('fk_objective_marks_conversation_id_conversations')),
    sa.ForeignKeyConstraint(['decided_by_id'], ['users.id'], name=op.f('fk_objective_marks_decided_by_id_users')),
    sa.ForeignKeyConstraint(['message_id'], ['messages.id'], name=op.f('fk_objective_marks_message_id_messages')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_objective_marks')),
    sa.UniqueConstraint('conversation_id', 'position', name=op.f('uq_objective_marks_conversation_id_position'))
    )
    op.create_table('evaluations',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('conversation_id', sa.Integer(), nullable=False),
    sa.Column('result', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('until_message_id', sa.Integer(), nullable=True),
    sa.Column('model', sa.String(200), nullable=True),
    sa.Column('prompt_version', sa.String(20), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('lease_until', sa.DateTime(timezone=True), nullable=True),
    sa.Column('error_code', sa.String(40), nullable=True),
    sa.ForeignKeyConstraint(['conversation_id'], ['conversations.id'], name=op.f('fk_evaluations_conversation_id_conversations')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_evaluations')),
    sa.UniqueConstraint('conversation_id', name=op.f('uq_evaluations_conversation_id'))
    )


def downgrade() -> None:
    op.drop_table('evaluations')
    op.drop_table('objective_marks')
    with op.batch_alter_table('conversations', schema=None) as batch_op:
        batch_op.drop_column('judged_until')
        batch_op.drop_column('all_objectives_met')
