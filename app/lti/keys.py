"""The tool's RSA keys: PEM files in one folder, readable by their owner only; all are published."""

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwcrypto.jwk import JWK

from app.database import utc_now
from app.files import write_private

KEY_BITS = 2048


class KeyRing:
    """The keys in `folder`, made there on first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def public_key_set(self) -> dict[str, list[dict[str, Any]]]:
        """Return the JSON Web Key Set of the public keys (RFC 7517), each with its thumbprint as ``kid``."""
        return {"keys": [_public_jwk(pem) for pem in self._pems]}

    @cached_property
    def _pems(self) -> list[str]:
        if not any(self._folder.glob("rsa-*.pem")):
            make_key(self._folder)
        return [path.read_text() for path in sorted(self._folder.glob("rsa-*.pem"))]


def make_key(folder: Path) -> Path:
    """Write a new private key into `folder` and return its path."""
    path = folder / f"rsa-{utc_now():%Y%m%dT%H%M%S%f}Z.pem"
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    write_private(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def _public_jwk(pem: str) -> dict[str, Any]:
    key = JWK.from_pem(pem.encode())
    public: dict[str, Any] = json.loads(key.export_public())
    return public | {"kid": key.thumbprint(), "alg": "RS256", "use": "sig"}
