import asyncio
import time

from generated.websockets.chat import BlobConnection, BlobMessage, ChatConnection, ChatMessage


async def nothing():
    return "called"


def only_connection(connection):
    return [type(connection) is ChatConnection, connection.id, connection.connection_id, connection.path]


async def opened(connection, state):
    return {
        "connected_at": connection.connected_at,
        "path_params": connection.path_params,
        "tag": connection.query_params["tag"],
        "tags": connection.query_params.getlist("tag"),
        "agent": connection.headers["User-Agent"],
        "cookies": connection.cookies,
        "client": connection.client,
        "closed": [connection.close_code, connection.close_reason],
        "handler": state.handler_name,
        "json": connection.dict(),
    }


async def said(message, connection, state):
    if message is None:
        return [None, connection.close_code, connection.close_reason]
    assert type(message) is ChatMessage
    return ChatMessage(data=message.data, timestamp=message.timestamp)


def said_sync(message, connection, state):
    return [message.data.items[0].name, connection.id, state.trace_id]


async def blob(message, connection, state):
    assert type(message) is BlobMessage and type(connection) is BlobConnection
    return bytearray(message.data[::-1]) if message.data.startswith(b"array") else message.data[::-1]


def pushes(connection, state):
    ws = state.ws
    ws.join(connection.id, "blue")
    ws.send(connection.id, {"n": 1})
    ws.send(connection.id, b"\x00\xff")
    ws.send(connection.id, "text")
    ws.broadcast("Chat", ChatMessage.model_construct(data=None, timestamp=None), room="blue", exclude=connection.id)
    ws.broadcast("Blob", memoryview(b"view"))
    ws.leave(connection.id, "blue")
    ws.close(connection.id, 4000, "bye")
    ws.close("other")
    assert state.ws is ws
    return "done"


async def pushes_and_fails(connection, state):
    state.ws.send(connection.id, 1)
    raise ValueError("after the push")


async def streams(connection, state):
    state.ws.send(connection.id, "first")
    await asyncio.Event().wait()


async def blocks(connection, state):
    state.ws.send(connection.id, "first")
    time.sleep(0.5)


async def wrong(message, connection, state):
    ws, do = state.ws, message.data.email
    if do == "name":
        ws.broadcast("Chatt", 1)
    elif do == "id":
        ws.send(7, 1)
    elif do == "room":
        ws.broadcast("Chat", 1, room=7)
    elif do == "code":
        ws.close("c", 1006)
    elif do == "reason":
        ws.close("c", 1000, "ü" * 62)
    else:
        ws.send("c", {"a": [object()]})


def too_many(message, connection, state, more):
    pass
