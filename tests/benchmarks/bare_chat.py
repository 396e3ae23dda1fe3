"""What chats are held against: a Starlette application that passes a model's tokens on and stores the same rows.

It knows no person, no launch and no rule: it stores the student's message and an empty reply, asks the model by aiohttp
with what was said so far, sends each token on as it comes, stores the reply as it grows, once a second, and when it has
ended. It counts what was used, as we do, and never looks at the count.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from itertools import count

import aiohttp
import orjson
from psycopg import AsyncConnection
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

CONNECTIONS = 10
PARTS = 32
INSTRUCTIONS = "You play a character in a practice conversation for a course. " * 40
ROLES = {"student": "user", "persona": "assistant"}
INSERT = (
    "INSERT INTO messages (conversation_id, speaker, text, state, client_key, created_at, attempts, lease_until,"
    " truncated) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, false) RETURNING id"
)
SAID = "SELECT speaker, text FROM messages WHERE conversation_id = %s AND state = 'complete' ORDER BY id"
TOUCH = "UPDATE conversations SET updated_at = %s WHERE id = %s"
USE = (
    "INSERT INTO uses (user_id, kind, begins_at, count) VALUES (%s, %s, %s, 1)"
    " ON CONFLICT (user_id, kind) DO UPDATE SET count = uses.count + 1 RETURNING count"
)
SAVE = "UPDATE messages SET text = %s WHERE id = %s AND state = 'generating'"
SAVE_EVERY = 1.0
COUNT_TOKENS = (
    "INSERT INTO course_tokens (course_id, month, part, used, estimated) VALUES (1, %s, %s, %s, 0)"
    " ON CONFLICT (course_id, month, part) DO UPDATE SET used = course_tokens.used + excluded.used"
)
SETTLE = (
    "UPDATE messages SET text = %s, state = 'complete', model = %s, prompt_tokens = %s, completion_tokens = %s,"
    " lease_until = NULL WHERE id = %s"
)


turns = count()


class Database:
    """A few connections that take turns."""

    def __init__(self) -> None:
        self._free: asyncio.Queue[AsyncConnection] = asyncio.Queue()

    async def open(self) -> None:
        for _ in range(CONNECTIONS):
            self._free.put_nowait(await AsyncConnection.connect(os.environ["PLAIN_DATABASE_URL"]))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        connection = await self._free.get()
        try:
            async with connection.transaction():
                yield connection
        finally:
            self._free.put_nowait(connection)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.database = Database()
    await app.state.database.open()
    connector = aiohttp.TCPConnector(limit=0)
    app.state.growing = {}
    async with aiohttp.ClientSession(connector=connector) as app.state.model:
        keeper = asyncio.create_task(_keep(app))
        yield
        keeper.cancel()
        with suppress(asyncio.CancelledError):
            await keeper


async def _keep(app: Starlette) -> None:
    while True:
        await asyncio.sleep(SAVE_EVERY)
        under_way = [("".join(pieces), reply_id) for reply_id, pieces in app.state.growing.items()]
        if under_way:
            async with app.state.database.transaction() as connection:
                await connection.cursor().executemany(SAVE, under_way)


async def chat(request: Request) -> StreamingResponse:
    form = dict(pair.split("=", 1) for pair in (await request.body()).decode().split("&"))
    conversation_id = int(request.path_params["conversation_id"])
    return StreamingResponse(_reply(request.app, conversation_id, form), media_type="text/event-stream")


async def _reply(app: Starlette, conversation_id: int, form: dict[str, str]) -> AsyncIterator[bytes]:
    reply_id, said = await _begin(app.state.database, conversation_id, form)
    yield _event("reply", {"id": reply_id})
    pieces = app.state.growing[reply_id] = []
    usage: dict[str, int] = {}
    async for event in _asked(app.state.model, said):
        usage = event.get("usage") or usage
        if text := event["choices"][0]["delta"].get("content"):
            pieces.append(text)
            yield _event("text", {"text": text})
    del app.state.growing[reply_id]
    month = datetime.now(UTC).date().replace(day=1)
    async with app.state.database.transaction() as connection:
        tokens = usage["prompt_tokens"], usage["completion_tokens"]
        await connection.execute(SETTLE, ("".join(pieces), "paced", *tokens, reply_id))
        await connection.execute(COUNT_TOKENS, (month, next(turns) % PARTS, sum(tokens)))
    yield _event("done", {"id": reply_id, "state": "complete"})


async def _begin(
    database: Database, conversation_id: int, form: dict[str, str]
) -> tuple[int, list[tuple[str, str]]]:
    now = datetime.now(UTC)
    mine = (conversation_id, "student", form["message"], "complete", form["client_key"], now, 0, None)
    reply = (conversation_id, "persona", "", "generating", None, now, 1, now + timedelta(seconds=20))
    async with database.transaction() as connection:
        for kind in ("messages a day", "replies a minute"):
            await connection.execute(USE, (-conversation_id, kind, now))
        await connection.execute(TOUCH, (now, conversation_id))
        await connection.execute(INSERT, mine)
        row = await (await connection.execute(INSERT, reply)).fetchone()
        said = await (await connection.execute(SAID, (conversation_id,))).fetchall()
    return row[0], said


async def _asked(model: aiohttp.ClientSession, said: list[tuple[str, str]]) -> AsyncIterator[dict]:
    messages = [{"role": ROLES[speaker], "content": text} for speaker, text in said]
    payload = {
        "model": "paced",
        "messages": [{"role": "system", "content": INSTRUCTIONS}, *messages],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    url = f"{os.environ['LLM_BASE_URL']}/chat/completions"
    headers = {"Content-Type": "application/json"}
    async with model.post(url, data=orjson.dumps(payload), headers=headers) as answer:
        async for line in answer.content:
            if line.startswith(b"data: {"):
                yield orjson.loads(line[6:])


def _event(name: str, data: dict) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), orjson.dumps(data))


async def ready(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok")


app = Starlette(
    routes=[Route("/", ready), Route("/chats/{conversation_id}", chat, methods=["POST"])], lifespan=lifespan
)
