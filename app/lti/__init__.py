"""All that speaks LTI: platforms, keys, login, launch, claims, roles and the sessions of launches."""
