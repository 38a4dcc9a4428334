from typing import Any

from generated.state import State


async def handle_nightly(req: dict[str, Any], state: State) -> None:
    """Runs at 0 2 * * * (Europe/Berlin)."""
    state.logger.info("Nightly runs")
