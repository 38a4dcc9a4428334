from generated.state import State
from generated.websockets.raw import RawConnection, RawMessage


async def raw_said(message: RawMessage, connection: RawConnection, state: State) -> None:
    """A client sent a message on /raw."""
    print(f"raw_said: {connection.id}")
