"""Secrets that are handed out once, and of which the database keeps a hash alone."""

import secrets
from hashlib import sha256


def new_secret() -> str:
    """Return 256 random bits as text that an address or a cookie carries as it is."""
    return secrets.token_urlsafe(32)


def hash_of(secret: str) -> str:
    """Return what is kept of a secret. It is random, so that nobody finds it again from its plain SHA-256."""
    return sha256(secret.encode()).hexdigest()
