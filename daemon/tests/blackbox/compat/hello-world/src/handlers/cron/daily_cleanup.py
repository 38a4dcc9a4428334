import asyncio
import time

from journal import note


async def handle_daily_cleanup(req, state):
    note("cleanup started", time.time())
    state.logger.info("cleaning up")
    await asyncio.sleep(0.3)
    note("cleanup ended", time.time())
    return {"removed": 3}
