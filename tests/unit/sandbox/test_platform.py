"""What tests of other rooms rely on: making good and bad launches, and a configuration that stays local."""

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from app.sandbox import ABSENT, SandboxConfig, SandboxRefusedError, create_sandbox, run


@pytest.mark.parametrize(
    "url", ["https://ai.example.edu", "http://10.0.0.7:8000", "http://localhost.example.edu"]
)
def test_refuses_a_tool_on_another_host(tmp_path, url):
    config = SandboxConfig(tool_url=url, state_dir=tmp_path)
    for start in (create_sandbox, run):
        with pytest.raises(SandboxRefusedError, match="this machine only"):
            start(config)


def test_refuses_to_be_another_host_itself(tmp_path):
    with pytest.raises(SandboxRefusedError, match="sandbox's address"):
        create_sandbox(SandboxConfig(url="http://canvas.example.edu", state_dir=tmp_path))


@pytest.mark.parametrize("url", ["http://localhost:8000", "http://127.0.0.1:9", "http://[::1]:8000"])
def test_accepts_a_tool_on_this_machine(state_dir, url):
    assert create_sandbox(SandboxConfig(tool_url=url, state_dir=state_dir))


def test_sign_overrides_and_removes_claims(sandbox):
    claims = sandbox.launch_claims("amara.diallo", 1101, nonce="n")
    token = sandbox.sign(claims, nonce="other", email=ABSENT)
    content = jwt.decode(token, options={"verify_signature": False})
    assert content["nonce"] == "other"
    assert "email" not in content


def test_sign_makes_forgeries(sandbox):
    claims = sandbox.launch_claims("amara.diallo", 1101, nonce="n")
    assert jwt.get_unverified_header(sandbox.sign(claims, algorithm="none"))["alg"] == "none"
    assert "kid" not in jwt.get_unverified_header(sandbox.sign(claims, headers={"kid": None}))
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    forged = sandbox.sign(claims, private_key=stranger)
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(forged, sandbox.keys.current.public_key(), algorithms=["RS256"], audience=claims["aud"])


def test_people_have_stable_and_distinct_ids(sandbox):
    people = sandbox.directory.people
    assert len({person.sub for person in people}) == len(people)
    assert len({person.canvas_id for person in people}) == len(people)
    assert sandbox.person("amara.diallo").sub == "601a61a7-a8f4-5300-b542-298d768924b5"
    assert sandbox.person(301) == sandbox.person(sandbox.person(301).sub) == sandbox.person("amara.diallo")


def test_unknown_names_are_lookup_errors(sandbox):
    with pytest.raises(LookupError):
        sandbox.person("nobody")
    with pytest.raises(LookupError):
        sandbox.course(1)
