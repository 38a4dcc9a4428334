from generated.websockets.hello_world import HelloWorldConnection


async def say_goodbye(connection: HelloWorldConnection) -> None:
    print(f"Client disconnected: {connection.connection_id}")
