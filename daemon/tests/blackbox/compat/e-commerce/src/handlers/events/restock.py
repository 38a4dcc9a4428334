from generated.events.inventory_low import InventoryLow
from generated.state import State
from journal import note


async def restock(event: InventoryLow, state: State):
    note("restock", event.payload)
    state.trigger_event("Restocked", {"payload": len(event.payload["products"])})
