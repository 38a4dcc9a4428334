from generated.state import State
from generated.websockets.hello_world import HelloWorldConnection, HelloWorldMessage


# The ws has `broadcast: true`: what `onMessage` returns goes to everybody, the sender included.
async def repeat_line(message: HelloWorldMessage, connection: HelloWorldConnection, state: State) -> dict[str, str]:
    if message.data.text == "who am I?":
        # Only to one of them, and at once.
        state.ws.send(connection.connection_id, {"you": connection.connection_id})
    return {"from": connection.connection_id, "text": message.data.text}
