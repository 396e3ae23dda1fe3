"""What is fixed about the embedded model: which file it is, and how its process is cut into slots."""

from typing import Final

MODEL_NAME: Final = "Qwen2.5-Coder-1.5B-Instruct"
FILE_NAME: Final = "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf"
FILE_SHA256: Final = "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046"

# Conversations that keep their prompt in memory side by side, and the window of each.
SLOTS: Final = 4
SLOT_TOKENS: Final = 4_096
# One more, for structured answers: a long question is not to push a conversation out of its slot.
QUESTION_SLOT: Final = SLOTS
ALL_SLOTS: Final = SLOTS + 1
