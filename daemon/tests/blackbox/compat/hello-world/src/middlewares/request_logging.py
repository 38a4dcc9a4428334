from typing import Any, Dict, Optional

from generated.state import State


async def request_logging_middleware(context: Dict[str, Any], state: State) -> Optional[Dict[str, Any]]:
    state.logger.info("request", api=context.get("api_name"), ws=context.get("websocket_name"))
    return {"query_params": context.get("query_params", {})}
