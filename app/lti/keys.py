"""The tool's RSA keys, in files for their owner alone or from the environment. All are published, the newest signs."""

import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwcrypto.common import JWException
from jwcrypto.jwk import JWK

from app.database import utc_now
from app.files import write_private
from app.settings import SettingsError

ALGORITHM = "RS256"  # the one that every platform and tool takes (LTI Security Framework 1.1, section 6.1)
KEY_BITS = 2048
OTHERS_BITS = 0o077
_PEM = re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.+?-----END \1-----", re.DOTALL)

logger = logging.getLogger(__name__)


class PrivateKeyError(SettingsError):
    """A private key that cannot be used. The message says what to do, and holds nothing of the key."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key as PEM (PKCS 8), its RFC 7638 thumbprint, and its public part as a JSON Web Key (RFC 7517)."""

    kid: str
    pem: str = field(repr=False)
    public_jwk: dict[str, Any] = field(repr=False)


class KeyRing:
    """The keys in `folder`, made there on first use; or those that are `given` (`read_private_keys`), newest first.

    The folder is looked at each time, so that every worker notices a rotation at once. A platform's own key lies
    `beside` its `tool_config.json`.
    """

    def __init__(self, folder: Path, *, given: str | None = None, beside: Path = Path()) -> None:
        self._folder = folder
        self._given = read_private_keys(given) if given else []
        self._beside = beside
        self._read_files: dict[Path, SigningKey] = {}

    def signing_key(self, own_file: str | None = None) -> SigningKey:
        """Return the newest key, or the platform's own. Raises `PrivateKeyError`."""
        if own_file:
            return self._read(self._beside / own_file)
        return self._given[0] if self._given else self._read(self._files()[0])

    def public_key_set(self, own_files: Iterable[str] = ()) -> dict[str, list[dict[str, Any]]]:
        """Return the JSON Web Key Set of all public keys, newest first, then those of platforms with their own.

        A file that cannot be used is left out and logged: the other keys' platforms need an answer.
        """
        keys = {key.kid: key for key in self._given}
        for path in self._all_files(own_files):
            try:
                key = self._read(path)
            except PrivateKeyError as error:
                logger.error("not published: %s", error)
            else:
                keys.setdefault(key.kid, key)
        return {"keys": [key.public_jwk for key in keys.values()]}

    def check(self, own_files: Iterable[str] = ()) -> None:
        """Read every key. Raises `PrivateKeyError` for the first that cannot be used."""
        for path in self._all_files(own_files):
            self._read(path)

    def rotate(self, keep: int) -> SigningKey:
        """Make a new key, which signs from now on; leave `keep` older ones published and remove the rest.

        Raises `PrivateKeyError` where the keys are given.
        """
        if self._given:
            raise PrivateKeyError(
                "The keys come from LTI_PRIVATE_KEYS. Make one with “openssl genrsa 2048”, put it there before the "
                "others and restart the tool; strike out an old one when the new one has signed for a day."
            )
        newest = make_key(self._folder)
        for path in self._files()[keep + 1 :]:
            path.unlink(missing_ok=True)
        return self._read(newest)

    def _all_files(self, own_files: Iterable[str]) -> list[Path]:
        own = [self._beside / name for name in own_files]
        return own if self._given else self._files() + own

    def _files(self) -> list[Path]:
        return sorted(self._folder.glob("rsa-*.pem"), reverse=True) or [make_key(self._folder)]

    def _read(self, path: Path) -> SigningKey:
        if path not in self._read_files:
            self._read_files[path] = _read_file(path)
        return self._read_files[path]


def make_key(folder: Path) -> Path:
    """Write a new private key into `folder` and return its path."""
    path = folder / f"rsa-{utc_now():%Y%m%dT%H%M%S%f}Z.pem"
    key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
    write_private(path, _to_pem(key))
    return path


def read_private_keys(text: str) -> list[SigningKey]:
    """Return the keys of LTI_PRIVATE_KEYS: PEM after PEM, a JWK or a JWKS. Raises `PrivateKeyError`."""
    text = text.replace("\\n", "\n").strip()
    try:
        pems = _pems_of_jwks(json.loads(text)) if text.startswith("{") else _pems_of(text)
        if not pems:
            raise ValueError("it holds no key")
        return [_parse(pem) for pem in pems]
    except ValueError:
        raise PrivateKeyError(
            "LTI_PRIVATE_KEYS: must hold RSA private keys as PEM, a JWK or a JWKS, newest first, of at least "
            f"{KEY_BITS} bits and without a password"
        ) from None  # what the parsers say may hold some of the text


def _read_file(path: Path) -> SigningKey:
    try:
        if path.stat().st_mode & OTHERS_BITS:
            raise PrivateKeyError(f"{path} is open to others than its owner: run “chmod 600 {path}”.")
        return _parse(path.read_bytes())
    except OSError as error:
        raise PrivateKeyError(f"{path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise PrivateKeyError(
            f"{path} must hold one RSA private key as PEM, of at least {KEY_BITS} bits and without a password."
        ) from error


def _parse(pem: bytes) -> SigningKey:
    """Raises `ValueError`, whose message may hold some of the key."""
    try:
        key = load_pem_private_key(pem, password=None)
    except (TypeError, UnsupportedAlgorithm) as error:
        raise ValueError("it is encrypted or of an unknown kind") from error
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < KEY_BITS:
        raise ValueError("no RSA key, or too short a one")
    jwk = JWK.from_pyca(key)
    kid: str = jwk.thumbprint()
    public = json.loads(jwk.export_public()) | {"kid": kid, "alg": ALGORITHM, "use": "sig"}
    return SigningKey(kid, _to_pem(key).decode(), public)


def _to_pem(key: rsa.RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _pems_of(text: str) -> list[bytes]:
    return [match.group().encode() for match in _PEM.finditer(text)]


def _pems_of_jwks(jwks: dict[str, Any]) -> list[bytes]:
    try:
        return [JWK(**jwk).export_to_pem(private_key=True, password=None) for jwk in jwks.get("keys", [jwks])]
    except (JWException, TypeError, AttributeError, LookupError) as error:
        raise ValueError("no private key") from error
