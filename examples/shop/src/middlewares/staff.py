import hmac
import os
from typing import Any

from generated.errors import Unauthorized
from generated.state import State


def staff_middleware(context: dict[str, Any], state: State) -> None:
    """Lets nobody but the shop's staff pass."""
    token = os.environ.get("SHOP_STAFF_TOKEN", "staff-only")
    given = context["headers"].get("x-staff-token", "")
    if not hmac.compare_digest(given.encode(), token.encode()):
        raise Unauthorized("send the token of the staff as `x-staff-token`")
