from datetime import datetime, timezone

from generated.api.test import TestRequest, TestResponse
from generated.state import State


async def handle_test(req: TestRequest, state: State) -> TestResponse:
    greeting = "Hello, world!"
    state.logger.error(greeting)

    user = {"id": 1, "name": greeting, "email": "hello@world.com", "createdAt": datetime.now(timezone.utc)}
    state.trigger_event("UserCreated", user)
    # Without effect: `UserCreated` isn't among this api's `triggers:`, so only the call above emits it.
    state.set_payload("UserCreated", {**user, "name": "never seen"})
    # The payload type is String: the text may come by itself or under the key `payload`.
    state.trigger_event("ManualTrigger", {"payload": greeting})

    # `BottleneckDetected` is in `triggers:` and has no payload set: it carries this reply.
    return TestResponse(data=f"{greeting}s")
