from datetime import datetime

from generated.dto.web_socket_message import WebSocketMessage
from generated.state import State
from generated.websockets.hello_world import HelloWorldConnection, HelloWorldMessage


async def on_connect(connection: HelloWorldConnection, state: State) -> HelloWorldMessage:
    print(f"Client connected: {connection.connection_id}")
    return HelloWorldMessage(
        data=WebSocketMessage(
            type="welcome",
            payload={"message": f"Hello! You are connected as {connection.connection_id}"},
        ),
        timestamp=datetime.now(),
    )
