import time
from typing import Any

from generated.state import State


def request_logging_middleware(context: dict[str, Any], state: State) -> dict[str, Any]:
    name = context.get("api_name") or context.get("websocket_name")
    state.logger.info("request", name=name, path=context["path"], client=context["client_ip"])
    return {"response_headers": {"x-trace-id": context["trace_id"]}}


# Called after the handler of an api; there is no such moment for a WebSocket.
def request_logging_after(context: dict[str, Any], response: Any, state: State) -> None:
    response.headers["x-answered-at"] = str(time.time())
