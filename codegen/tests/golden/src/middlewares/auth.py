from typing import Any

from generated.state import State


async def auth_middleware(context: dict[str, Any], state: State) -> dict[str, Any] | None:
    """Runs before the handler.

    Return None to let the request pass as it is, a dict with `payload` or `query_params` to change it, or raise an error
    to reject it: those of `generated.errors` set the status, any other means 400.
    """
    return None
