"""OAuth clients, codes and tokens"""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('oauth_clients',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('platform_id', sa.Integer(), nullable=False),
    sa.Column('deployment_id', sa.Integer(), nullable=True),
    sa.Column('client_id', sa.String(64), nullable=False),
    sa.Column('secret_hash', sa.String(64), nullable=True),
    sa.Column('jwks', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('jwks_url', sa.String(2000), nullable=True),
    sa.Column('name', sa.String(255), nullable=False),
    sa.Column('redirect_uris', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('scopes', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('service_user_id', sa.Integer(), nullable=True),
    sa.Column('workflow_state', sa.Enum('active', 'pending', 'removed', name='registrationstate', native_enum=False, length=20), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['deployment_id'], ['deployments.id'], name=op.f('fk_oauth_clients_deployment_id_deployments')),
    sa.ForeignKeyConstraint(['platform_id'], ['platforms.id'], name=op.f('fk_oauth_clients_platform_id_platforms')),
    sa.ForeignKeyConstraint(['service_user_id'], ['users.id'], name=op.f('fk_oauth_clients_service_user_id_users')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_oauth_clients')),
    sa.UniqueConstraint('client_id', name=op.f('uq_oauth_clients_client_id'))
    )
    with op.batch_alter_table('oauth_clients', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_oauth_clients_platform_id'), ['platform_id'], unique=False)

    op.create_table('access_tokens',
    sa.Column('id', sa.Integer(), nullable=False),
    sa.Column('token_hash', sa.String(64), nullable=False),
    sa.Column('hint', sa.String(16), nullable=False),
    sa.Column('refresh_hash', sa.String(64), nullable=True),
    sa.Column('rotation_hash', sa.String(64), nullable=True),
    sa.Column('platform_id', sa.Integer(), nullable=False),
    sa.Column('deployment_id', sa.Integer(), nullable=True),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('client_id', sa.Integer(), nullable=True),
    sa.Column('is_service', sa.Boolean(), nullable=False),
    sa.Column('name', sa.String(255), nullable=True),
    sa.Column('scopes', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('granted_scopes', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('refresh_expires_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('last_used_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('created_by_id', sa.Integer(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['client_id'], ['oauth_clients.id'], name=op.f('fk_access_tokens_client_id_oauth_clients')),
    sa.ForeignKeyConstraint(['created_by_id'], ['users.id'], name=op.f('fk_access_tokens_created_by_id_users')),
    sa.ForeignKeyConstraint(['deployment_id'], ['deployments.id'], name=op.f('fk_access_tokens_deployment_id_deployments')),
    sa.ForeignKeyConstraint(['platform_id'], ['platforms.id'], name=op.f('fk_access_tokens_platform_id_platforms')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_access_tokens_user_id_users')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_access_tokens')),
    sa.UniqueConstraint('refresh_hash', name=op.f('uq_access_tokens_refresh_hash')),
    sa.UniqueConstraint('token_hash', name=op.f('uq_access_tokens_token_hash'))
    )
    with op.batch_alter_table('access_tokens', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_access_tokens_client_id'), ['client_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_access_tokens_expires_at'), ['expires_at'], unique=False)
        batch_op.create_index(batch_op.f('ix_access_tokens_revoked_at'), ['revoked_at'], unique=False)
        batch_op.create_index(batch_op.f('ix_access_tokens_user_id'), ['user_id'], unique=False)

    op.create_table('authorization_codes',
    sa.Column('code_hash', sa.String(64), nullable=False),
    sa.Column('client_id', sa.Integer(), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('deployment_id', sa.Integer(), nullable=False),
    sa.Column('redirect_uri', sa.String(2000), nullable=True),
    sa.Column('scopes', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('purpose', sa.String(255), nullable=True),
    sa.Column('code_challenge', sa.String(128), nullable=True),
    sa.Column('access_token_id', sa.Integer(), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('used_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['access_token_id'], ['access_tokens.id'], name=op.f('fk_authorization_codes_access_token_id_access_tokens')),
    sa.ForeignKeyConstraint(['client_id'], ['oauth_clients.id'], name=op.f('fk_authorization_codes_client_id_oauth_clients')),
    sa.ForeignKeyConstraint(['deployment_id'], ['deployments.id'], name=op.f('fk_authorization_codes_deployment_id_deployments')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_authorization_codes_user_id_users')),
    sa.PrimaryKeyConstraint('code_hash', name=op.f('pk_authorization_codes'))
    )
    with op.batch_alter_table('authorization_codes', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_authorization_codes_created_at'), ['created_at'], unique=False)

    op.create_table('sign_ins',
    sa.Column('ticket_hash', sa.String(64), nullable=False),
    sa.Column('cookie_hash', sa.String(64), nullable=False),
    sa.Column('user_id', sa.Integer(), nullable=False),
    sa.Column('deployment_id', sa.Integer(), nullable=False),
    sa.Column('locale', sa.String(35), nullable=True),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['deployment_id'], ['deployments.id'], name=op.f('fk_sign_ins_deployment_id_deployments')),
    sa.ForeignKeyConstraint(['user_id'], ['users.id'], name=op.f('fk_sign_ins_user_id_users')),
    sa.PrimaryKeyConstraint('ticket_hash', name=op.f('pk_sign_ins')),
    sa.UniqueConstraint('cookie_hash', name=op.f('uq_sign_ins_cookie_hash'))
    )
    with op.batch_alter_table('sign_ins', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_sign_ins_created_at'), ['created_at'], unique=False)

    op.create_table('client_assertions',
    sa.Column('jti_hash', sa.String(64), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('jti_hash', name=op.f('pk_client_assertions'))
    )
    with op.batch_alter_table('client_assertions', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_client_assertions_expires_at'), ['expires_at'], unique=False)


def downgrade() -> None:
    for table in ('client_assertions', 'sign_ins', 'authorization_codes', 'access_tokens', 'oauth_clients'):
        op.drop_table(table)
