from typing import Any

from generated.errors import Unauthorized
from generated.state import State

# An example knows its tokens by heart. A project looks them up.
_NAMES = {"Bearer ann-token": "Ann"}


async def auth_middleware(context: dict[str, Any], state: State) -> dict[str, Any]:
    name = _NAMES.get(context["headers"].get("authorization", ""))
    if name is None:
        raise Unauthorized("send the header `authorization: Bearer ann-token`")
    # What the handler is to know goes into the query parameters: a client can't choose it, since these take the place of what it sent.
    return {"query_params": {"user": name}}
