from datetime import datetime

from generated.dto.web_socket_message import WebSocketMessage
from generated.state import State
from generated.websockets.hello_world import HelloWorldConnection, HelloWorldMessage


async def on_message(message: HelloWorldMessage, connection: HelloWorldConnection, state: State):
    if message.data.type == "quiet":
        return None
    if message.data.type == "trigger":
        state.set_payload("MessageReceived", {"from": connection.connection_id})
    return HelloWorldMessage(
        data=WebSocketMessage(
            type="echo",
            payload={
                "original": message.data.model_dump(),
                "response": "Message received successfully!",
            },
        ),
        timestamp=datetime.now(),
    )
