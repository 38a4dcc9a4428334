from typing import Any

from generated.responses import Reply
from generated.state import State


async def rate_limit_middleware(context: dict[str, Any], state: State) -> dict[str, Any] | Reply | None:
    """Runs before the handler.

    Return None to let the request pass as it is, a dict with `payload` or `query_params` to change it or with `response_headers`
    to add to the answer, or a Reply to answer without the handler. Raise an error to reject it: those of `generated.errors` set the
    status, any other means 400. A function `<name>_after(context, response, state)` in this file runs after the handler.
    """
    return None
