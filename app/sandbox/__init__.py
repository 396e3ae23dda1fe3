"""A small Canvas look-alike: a real LTI 1.3 platform for demo, tests and screenshots, never in production."""

from app.sandbox.config import SandboxConfig, registration
from app.sandbox.errors import SandboxRefusedError
from app.sandbox.factory import create_sandbox, make_sandbox_server, run
from app.sandbox.platform import ABSENT, Sandbox, sandbox_of

__all__ = [
    "ABSENT",
    "Sandbox",
    "SandboxConfig",
    "SandboxRefusedError",
    "create_sandbox",
    "make_sandbox_server",
    "registration",
    "run",
    "sandbox_of",
]
