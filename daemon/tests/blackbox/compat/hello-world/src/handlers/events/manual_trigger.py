from generated.events.manual_trigger import ManualTrigger
from journal import note


async def manual_trigger(event: ManualTrigger):
    note("manual_trigger", event.payload)
