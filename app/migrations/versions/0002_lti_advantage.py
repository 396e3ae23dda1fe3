"""Registrations, services, grades and course copies"""

import sqlalchemy as sa
from alembic import op

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Launches under way belong to nobody's work: people open the tool again.
    op.execute("DELETE FROM launches")
    op.execute("DELETE FROM logins")
    op.create_table('invitations',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('token_hash', sa.String(64), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('used_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('platform_id', sa.Integer(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['platform_id'], ['platforms.id'], name=op.f('fk_invitations_platform_id_platforms')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_invitations')),
    sa.UniqueConstraint('token_hash', name=op.f('uq_invitations_token_hash'))
    )
    op.create_table('course_services',
    sa.Column('course_id', sa.Integer(), nullable=False),
    sa.Column('roster_url', sa.String(2000), nullable=True),
    sa.Column('line_items_url', sa.String(2000), nullable=True),
    sa.Column('grade_scopes', sa.JSON(), nullable=False),
    sa.Column('roster_synced_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('roster_due_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('roster_attempts', sa.Integer(), nullable=False),
    sa.Column('roster_error', sa.String(300), nullable=True),
    sa.ForeignKeyConstraint(['course_id'], ['courses.id'], name=op.f('fk_course_services_course_id_courses')),
    sa.PrimaryKeyConstraint('course_id', name=op.f('pk_course_services'))
    )
    with op.batch_alter_table('course_services', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_course_services_roster_due_at'), ['roster_due_at'], unique=False)

    op.create_table('line_items',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('course_id', sa.Integer(), nullable=False),
    sa.Column('experience_id', sa.Integer(), nullable=False),
    sa.Column('url', sa.String(2000), nullable=False),
    sa.Column('label', sa.String(255), nullable=True),
    sa.Column('score_maximum', sa.Float(), nullable=True),
    sa.Column('read_due_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('resource_link_id', sa.String(255), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['course_id'], ['courses.id'], name=op.f('fk_line_items_course_id_courses')),
    sa.ForeignKeyConstraint(['experience_id'], ['experiences.id'], name=op.f('fk_line_items_experience_id_experiences')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_line_items')),
    sa.UniqueConstraint('experience_id', 'url', name=op.f('uq_line_items_experience_id_url'))
    )
    with op.batch_alter_table('line_items', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_line_items_read_due_at'), ['read_due_at'], unique=False)

    op.create_table('scores',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('course_id', sa.Integer(), nullable=False),
    sa.Column('experience_id', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('line_item_id', sa.Integer(), nullable=True),
    sa.Column('conversation_id', sa.Integer(), nullable=True),
    sa.Column('score_given', sa.Float(), nullable=True),
    sa.Column('score_maximum', sa.Float(), nullable=True),
    sa.Column('comment', sa.Text(), nullable=True),
    sa.Column('activity_progress', sa.String(20), nullable=False),
    sa.Column('grading_progress', sa.String(20), nullable=False),
    sa.Column('new_submission', sa.Boolean(), nullable=False),
    sa.Column('timestamp', sa.DateTime(timezone=True), nullable=False),
    sa.Column('state', sa.Enum('waiting', 'sent', 'failed', 'superseded', name='scorestate', native_enum=False, length=20), nullable=False),
    sa.Column('attempts', sa.Integer(), nullable=False),
    sa.Column('due_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('error', sa.String(300), nullable=True),
    sa.Column('created_by_id', sa.Integer(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('sent_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['conversation_id'], ['conversations.id'], name=op.f('fk_scores_conversation_id_conversations')),
    sa.ForeignKeyConstraint(['course_id'], ['courses.id'], name=op.f('fk_scores_course_id_courses')),
    sa.ForeignKeyConstraint(['created_by_id'], ['users.id'], name=op.f('fk_scores_created_by_id_users')),
    sa.ForeignKeyConstraint(['experience_id'], ['experiences.id'], name=op.f('fk_scores_experience_id_experiences')),
    sa.ForeignKeyConstraint(['line_item_id'], ['line_items.id'], name=op.f('fk_scores_line_item_id_line_items')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_scores_user_id_users')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_scores'))
    )
    with op.batch_alter_table('scores', schema=None) as batch_op:
        batch_op.create_index('ix_scores_due', ['due_at'], unique=False, sqlite_where=sa.text("state = 'waiting'"), postgresql_where=sa.text("state = 'waiting'"))
        batch_op.create_index('ix_scores_latest', ['experience_id', 'user_id', 'id'], unique=False)

    with op.batch_alter_table('courses', schema=None) as batch_op:
        batch_op.add_column(sa.Column('deployment_id', sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column('history', sa.JSON(), nullable=False, server_default='[]'))
        batch_op.add_column(sa.Column('claimed_history', sa.JSON(), nullable=False, server_default='[]'))
    # Courses were a platform's: they go to its first deployment.
    op.execute(
        "UPDATE courses SET deployment_id = "
        "(SELECT min(deployments.id) FROM deployments WHERE deployments.platform_id = courses.platform_id)"
    )
    with op.batch_alter_table('courses', schema=None) as batch_op:
        batch_op.alter_column('deployment_id', existing_type=sa.Integer(), nullable=False)
        batch_op.drop_constraint(batch_op.f('uq_courses_platform_id_context_id'), type_='unique')
        batch_op.create_index(batch_op.f('ix_courses_platform_id'), ['platform_id'], unique=False)
        batch_op.create_unique_constraint(batch_op.f('uq_courses_deployment_id_context_id'), ['deployment_id', 'context_id'])
        batch_op.create_foreign_key(batch_op.f('fk_courses_deployment_id_deployments'), 'deployments', ['deployment_id'], ['id'])

    with op.batch_alter_table('deployments', schema=None) as batch_op:
        batch_op.add_column(sa.Column('home_id', sa.Integer(), nullable=True))
        batch_op.add_column(sa.Column('platform_guid', sa.String(255), nullable=True))
        batch_op.add_column(sa.Column('platform_name', sa.String(255), nullable=True))
        batch_op.add_column(sa.Column('created_at', sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()))
        batch_op.create_foreign_key(batch_op.f('fk_deployments_home_id_deployments'), 'deployments', ['home_id'], ['id'])

    with op.batch_alter_table('enrollments', schema=None) as batch_op:
        batch_op.add_column(sa.Column('is_administrator', sa.Boolean(), nullable=False, server_default=sa.false()))
        batch_op.add_column(sa.Column('workflow_state', sa.Enum('active', 'left', name='enrollmentstate', native_enum=False, length=20), nullable=False, server_default='active'))
        batch_op.alter_column('last_launch_at',
               existing_type=sa.DATETIME(),
               nullable=True)

    with op.batch_alter_table('experiences', schema=None) as batch_op:
        batch_op.add_column(sa.Column('copied_from_id', sa.Integer(), nullable=True))
        batch_op.create_index(batch_op.f('ix_experiences_copied_from_id'), ['copied_from_id'], unique=False)
        batch_op.create_foreign_key(batch_op.f('fk_experiences_copied_from_id_experiences'), 'experiences', ['copied_from_id'], ['id'])

    with op.batch_alter_table('launches', schema=None) as batch_op:
        batch_op.add_column(sa.Column('key_hash', sa.String(64), nullable=True))
        batch_op.add_column(sa.Column('deep_linking', sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column('received', sa.JSON(), nullable=True))
        batch_op.add_column(sa.Column('line_item_id', sa.Integer(), nullable=True))
        batch_op.create_foreign_key(batch_op.f('fk_launches_line_item_id_line_items'), 'line_items', ['line_item_id'], ['id'])
        batch_op.create_index(batch_op.f('ix_launches_created_at'), ['created_at'], unique=False)
        batch_op.drop_column('resource_link_id')

    with op.batch_alter_table('logins', schema=None) as batch_op:
        batch_op.add_column(sa.Column('browser_hash', sa.String(64), nullable=False))
        batch_op.add_column(sa.Column('request', sa.JSON(), nullable=False))
        batch_op.drop_column('target_link_uri')

    with op.batch_alter_table('platforms', schema=None) as batch_op:
        batch_op.add_column(sa.Column('private_key_file', sa.String(2000), nullable=True))
        batch_op.add_column(sa.Column('product', sa.String(64), nullable=True))

    with op.batch_alter_table('users', schema=None) as batch_op:
        batch_op.add_column(sa.Column('merged_into_id', sa.Integer(), nullable=True))
        batch_op.create_foreign_key(batch_op.f('fk_users_merged_into_id_users'), 'users', ['merged_into_id'], ['id'])



def downgrade() -> None:
    op.execute("DELETE FROM launches")
    op.execute("DELETE FROM logins")
    op.execute("DELETE FROM enrollments WHERE last_launch_at IS NULL")
    with op.batch_alter_table('users', schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f('fk_users_merged_into_id_users'), type_='foreignkey')
        batch_op.drop_column('merged_into_id')

    with op.batch_alter_table('platforms', schema=None) as batch_op:
        batch_op.drop_column('product')
        batch_op.drop_column('private_key_file')

    with op.batch_alter_table('logins', schema=None) as batch_op:
        batch_op.add_column(sa.Column('target_link_uri', sa.String(2000), nullable=True))
        batch_op.drop_column('request')
        batch_op.drop_column('browser_hash')

    with op.batch_alter_table('launches', schema=None) as batch_op:
        batch_op.add_column(sa.Column('resource_link_id', sa.VARCHAR(length=255), nullable=False))
        batch_op.drop_index(batch_op.f('ix_launches_created_at'))
        batch_op.drop_constraint(batch_op.f('fk_launches_line_item_id_line_items'), type_='foreignkey')
        batch_op.drop_column('line_item_id')
        batch_op.drop_column('received')
        batch_op.drop_column('deep_linking')
        batch_op.drop_column('key_hash')

    with op.batch_alter_table('experiences', schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f('fk_experiences_copied_from_id_experiences'), type_='foreignkey')
        batch_op.drop_index(batch_op.f('ix_experiences_copied_from_id'))
        batch_op.drop_column('copied_from_id')

    with op.batch_alter_table('enrollments', schema=None) as batch_op:
        batch_op.alter_column('last_launch_at',
               existing_type=sa.DATETIME(),
               nullable=False)
        batch_op.drop_column('workflow_state')
        batch_op.drop_column('is_administrator')

    with op.batch_alter_table('deployments', schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f('fk_deployments_home_id_deployments'), type_='foreignkey')
        batch_op.drop_column('created_at')
        batch_op.drop_column('platform_name')
        batch_op.drop_column('platform_guid')
        batch_op.drop_column('home_id')

    with op.batch_alter_table('courses', schema=None) as batch_op:
        batch_op.drop_constraint(batch_op.f('fk_courses_deployment_id_deployments'), type_='foreignkey')
        batch_op.drop_constraint(batch_op.f('uq_courses_deployment_id_context_id'), type_='unique')
        batch_op.drop_index(batch_op.f('ix_courses_platform_id'))
        batch_op.create_unique_constraint(batch_op.f('uq_courses_platform_id_context_id'), ['platform_id', 'context_id'])
        batch_op.drop_column('claimed_history')
        batch_op.drop_column('history')
        batch_op.drop_column('deployment_id')

    with op.batch_alter_table('scores', schema=None) as batch_op:
        batch_op.drop_index('ix_scores_latest')
        batch_op.drop_index('ix_scores_due', sqlite_where=sa.text("state = 'waiting'"), postgresql_where=sa.text("state = 'waiting'"))

    op.drop_table('scores')
    op.drop_table('line_items')
    with op.batch_alter_table('course_services', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_course_services_roster_due_at'))

    op.drop_table('course_services')
    op.drop_table('invitations')
