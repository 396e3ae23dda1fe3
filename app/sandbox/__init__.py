"""A small Canvas look-alike: a real LTI 1.3 platform for demo, tests and screenshots, never in production."""

from app.sandbox.claims import MessageType
from app.sandbox.config import Flavour, SandboxConfig, Storage
from app.sandbox.errors import SandboxRefusedError
from app.sandbox.factory import create_sandbox, make_sandbox_server, run
from app.sandbox.platform import ABSENT, Sandbox, sandbox_of
from app.sandbox.tools import Tool, registration

__all__ = [
    "ABSENT",
    "Flavour",
    "MessageType",
    "Sandbox",
    "SandboxConfig",
    "SandboxRefusedError",
    "Storage",
    "Tool",
    "create_sandbox",
    "make_sandbox_server",
    "registration",
    "run",
    "sandbox_of",
]
