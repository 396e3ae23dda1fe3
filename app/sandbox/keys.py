"""The key that signs launches. It outlives restarts, so that a running tool keeps trusting it."""

from hashlib import sha256
from pathlib import Path
from threading import RLock
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from app.files import write_private

KEY_FILE = "platform-key.pem"
KEY_BITS = 2048


class SigningKeys:
    """The current key and those before it, all published until the sandbox stops."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / KEY_FILE
        self._lock = RLock()
        self._keys = [_load(self._file) or _create(self._file)]

    @property
    def current(self) -> rsa.RSAPrivateKey:
        """The key that signs."""
        with self._lock:
            return self._keys[-1]

    @property
    def kid(self) -> str:
        """The current key's name in the key set."""
        return key_id(self.current)

    def rotate(self) -> str:
        """Sign with a new key from now on, and return its name. Older ones stay published."""
        with self._lock:
            self._keys.append(_create(self._file))
            return self.kid

    def key_set(self) -> dict[str, list[dict[str, Any]]]:
        """The public halves as a JWK set."""
        with self._lock:
            return {"keys": [public_jwk(key) for key in self._keys]}


def key_id(key: rsa.RSAPrivateKey) -> str:
    """A name that follows from the key itself."""
    public = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return sha256(public).hexdigest()[:32]


def public_jwk(key: rsa.RSAPrivateKey) -> dict[str, Any]:
    """The public half as a JWK for RS256 signatures."""
    numbers = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return {
        "kty": "RSA",
        "n": numbers["n"],
        "e": numbers["e"],
        "alg": "RS256",
        "use": "sig",
        "kid": key_id(key),
    }


def _load(file: Path) -> rsa.RSAPrivateKey | None:
    if not file.exists():
        return None
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    return key if isinstance(key, rsa.RSAPrivateKey) else None


def _create(file: Path) -> rsa.RSAPrivateKey:
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_private(file, pem)
    return key
