from datetime import datetime, timezone

from generated.api.health import HealthRequest, HealthResponse
from generated.dto.health_response_dto import HealthResponseDto


async def handle_health(req: HealthRequest) -> HealthResponse:
    now = datetime.now(timezone.utc).isoformat()
    return HealthResponse(data=HealthResponseDto(status="ok", timestamp=now))
