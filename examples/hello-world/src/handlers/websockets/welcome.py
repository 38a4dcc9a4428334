from generated.state import State
from generated.websockets.hello_world import HelloWorldConnection


# What `onConnect` returns goes to the one who connects.
async def welcome(connection: HelloWorldConnection, state: State) -> dict[str, str]:
    print(f"Client connected: {connection.connection_id}")
    return {"welcome": connection.connection_id}
