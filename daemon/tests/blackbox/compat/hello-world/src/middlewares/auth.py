from typing import Any, Dict, Optional

from generated.state import State


async def auth_middleware(context: Dict[str, Any], state: State) -> Optional[Dict[str, Any]]:
    if context.get("query_params", {}).get("deny"):
        raise Exception("Access denied")
    return None
