from typing import Any

from generated.dto.cleanup import Cleanup
from generated.state import State


# `scheduled_at` is the slot for which it runs. What it returns is the payload of `CleanupDone`.
async def handle_daily_cleanup(req: dict[str, Any], state: State) -> Cleanup:
    state.logger.info("cleaning up", job=req["cron_name"])
    return Cleanup(scheduledAt=req["scheduled_at"], removed=3)
