from generated.api.health import HealthRequest, HealthResponse
from generated.state import State


async def handle_health(req: HealthRequest, state: State) -> HealthResponse:
    """GET /health"""
    raise NotImplementedError("the handler of GET /health is not written yet")
