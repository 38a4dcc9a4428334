from datetime import datetime

from generated.api.health import HealthRequest, HealthResponse
from generated.dto.health_response_dto import HealthResponseDto
from generated.state import State


async def handle_health(req: HealthRequest, state: State) -> HealthResponse:
    return HealthResponse(data=HealthResponseDto(status="ok", timestamp=datetime.now().isoformat()))
