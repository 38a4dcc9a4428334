from generated.state import State
from generated.websockets.chat import ChatConnection, ChatMessage


async def chat_said(message: ChatMessage, connection: ChatConnection, state: State) -> None:
    """A client sent a message on /chat."""
    print(f"chat_said: {connection.id}")
