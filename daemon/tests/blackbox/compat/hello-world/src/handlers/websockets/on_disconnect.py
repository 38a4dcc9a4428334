from generated.state import State
from generated.websockets.hello_world import HelloWorldConnection
from journal import note


async def on_disconnect(connection: HelloWorldConnection, state: State):
    print(f"Client disconnected: {connection.connection_id}")
    note("on_disconnect", connection.connection_id)
