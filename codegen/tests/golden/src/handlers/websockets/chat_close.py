from generated.state import State
from generated.websockets.chat import ChatConnection


async def chat_close(connection: ChatConnection, state: State) -> None:
    """A client left /chat."""
    print(f"chat_close: {connection.id}")
