from typing import Any, Dict, Optional

from generated.state import State

calls = 0


async def rate_limit_middleware(context: Dict[str, Any], state: State) -> Optional[Dict[str, Any]]:
    global calls
    calls += 1
    state.logger.debug("rate limit", calls=calls)
    return None
