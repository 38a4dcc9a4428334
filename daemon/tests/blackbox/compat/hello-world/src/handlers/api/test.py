from datetime import datetime

from generated.api.test import TestRequest, TestResponse
from generated.state import State


async def handle_test(req: TestRequest, state: State) -> TestResponse:
    state.logger.error("Hello, world!")
    user = {"id": 1, "name": "Hello, world!", "email": "hello@world.com", "createdAt": datetime.now().isoformat()}
    state.trigger_event("UserCreated", user)
    state.set_payload("UserCreated", {"id": 2, "name": "nobody", "email": "nobody@world.com"})
    state.trigger_event("ManualTrigger", {"payload": "Hello, world!"})
    return TestResponse(data="Hello, world!s")
