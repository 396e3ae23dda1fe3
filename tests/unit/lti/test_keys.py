"""The tool's keys."""

import base64
import hashlib
import json
import stat
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from jwcrypto.jwk import JWK

from app.files import write_private
from app.lti.keys import KeyRing, PrivateKeyError, make_key


def kids(ring: KeyRing, *own_files: str) -> list[str]:
    return [key["kid"] for key in ring.public_key_set(own_files)["keys"]]


def test_a_key_is_made_on_first_use_for_its_owner_alone(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    first = KeyRing(folder).public_key_set()
    (path,) = folder.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert KeyRing(folder).public_key_set() == first
    assert "d" not in first["keys"][0]


def test_all_keys_are_published_and_the_newest_signs(tmp_path: Path) -> None:
    old, new = (KeyRing(tmp_path).rotate(keep=2) for _ in range(2))
    assert kids(KeyRing(tmp_path)) == [new.kid, old.kid]
    assert KeyRing(tmp_path).signing_key() == new


def test_what_the_newest_key_signs_verifies_with_the_published_one(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    key = ring.rotate(keep=1)
    token = jwt.encode({"sub": "1"}, key.pem, "RS256", {"kid": key.kid})
    published = jwt.PyJWKSet.from_dict(ring.public_key_set())
    assert jwt.decode(token, published[key.kid], ["RS256"]) == {"sub": "1"}


def test_the_key_id_is_the_thumbprint_of_rfc_7638(tmp_path: Path) -> None:
    (key,) = KeyRing(tmp_path).public_key_set()["keys"]
    parts = {name: key[name] for name in ("e", "kty", "n")}
    digest = hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).digest()
    assert key["kid"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_a_running_worker_notices_a_rotation_by_another(tmp_path: Path) -> None:
    worker = KeyRing(tmp_path)
    before = worker.signing_key()
    after = KeyRing(tmp_path).rotate(keep=2)
    assert worker.signing_key() == after
    assert kids(worker) == [after.kid, before.kid]


def test_rotation_keeps_as_many_old_keys_as_it_is_told(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path)
    made = [ring.rotate(keep=2).kid for _ in range(4)]
    assert kids(ring) == made[:0:-1]
    assert len(list(tmp_path.iterdir())) == 3


def test_keys_are_not_in_the_representation(tmp_path: Path) -> None:
    key = KeyRing(tmp_path).signing_key()
    assert repr(key) == f"SigningKey(kid='{key.kid}')"


def test_a_key_that_others_may_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = make_key(tmp_path)
    path.chmod(0o640)
    ring = KeyRing(tmp_path)
    for use in (ring.signing_key, ring.check):
        with pytest.raises(PrivateKeyError, match=f"chmod 600 {path}"):
            use()
    path.chmod(0o400)
    assert kids(ring) == [ring.signing_key().kid]


def test_an_older_key_that_cannot_be_used_stops_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_private(tmp_path / "rsa-1.pem", b"rubbish")
    newest = make_key(tmp_path)
    ring = KeyRing(tmp_path)
    assert newest.name > "rsa-1.pem"
    assert kids(ring) == [ring.signing_key().kid]
    assert "rsa-1.pem must hold one RSA private key" in caplog.text


def pem_of(key: PrivateKeyTypes, password: bytes | None = None) -> str:
    how = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, how).decode()


NEWER, OLDER = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in range(2))
JWKS = [json.loads(JWK.from_pyca(key).export_private()) for key in (NEWER, OLDER)]
KIDS = [JWK.from_pyca(key).thumbprint() for key in (NEWER, OLDER)]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (pem_of(NEWER), KIDS[:1]),
        (pem_of(NEWER) + pem_of(OLDER), KIDS),
        ((pem_of(NEWER) + pem_of(OLDER)).replace("\n", "\\n"), KIDS),
        (json.dumps(JWKS[0]), KIDS[:1]),
        (json.dumps({"keys": JWKS}, indent=2), KIDS),
    ],
    ids=["pem", "two pems", "escaped line ends", "jwk", "jwks"],
)
def test_keys_may_be_given_in_the_environment(tmp_path: Path, given: str, expected: list[str]) -> None:
    ring = KeyRing(tmp_path, given=given)
    assert kids(ring) == expected
    assert ring.signing_key().kid == expected[0]
    assert list(tmp_path.iterdir()) == []


def test_given_keys_are_rotated_by_whoever_gives_them(tmp_path: Path) -> None:
    with pytest.raises(PrivateKeyError, match="LTI_PRIVATE_KEYS"):
        KeyRing(tmp_path, given=pem_of(NEWER)).rotate(keep=2)


@pytest.mark.parametrize(
    "given",
    [
        "rubbish",
        "{",
        "{}",
        '{"keys": []}',
        '{"keys": 5}',
        '{"keys": [5]}',
        json.dumps(JWKS[0] | {"n": None}),
        json.dumps({name: JWKS[0][name] for name in ("kty", "n", "e")}),
        json.dumps({"kty": "oct", "k": JWKS[0]["n"]}),
        pem_of(NEWER)[:900],
        pem_of(NEWER).replace("M", "N"),
        pem_of(NEWER, b"password"),
        pem_of(ec.generate_private_key(ec.SECP256R1())),
        pem_of(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
    ],
)
def test_what_is_no_key_is_refused_without_repeating_it(tmp_path: Path, given: str) -> None:
    with pytest.raises(PrivateKeyError, match="LTI_PRIVATE_KEYS: must hold") as refusal:
        KeyRing(tmp_path, given=given)
    assert refusal.value.__suppress_context__
    assert JWKS[0]["n"][:20] not in str(refusal.value)


def test_a_platform_may_have_a_key_of_its_own(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys", beside=tmp_path)
    write_private(tmp_path / "school.pem", pem_of(NEWER).encode())
    assert ring.signing_key("school.pem").kid == KIDS[0]
    assert kids(ring, "school.pem", "school.pem") == [ring.signing_key().kid, KIDS[0]]


def test_a_missing_key_of_a_platform_is_named_and_stops_no_other(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys", beside=tmp_path)
    for use in (ring.signing_key, lambda name: ring.check([name])):
        with pytest.raises(PrivateKeyError, match=r"school\.pem cannot be read"):
            use("school.pem")
    assert len(kids(ring, "school.pem")) == 1
