from generated.state import State
from generated.websockets.chat import ChatConnection


async def chat_open(connection: ChatConnection, state: State) -> None:
    """A client connected to /chat."""
    print(f"chat_open: {connection.id}")
