from generated.events.message_received import MessageReceived
from journal import note


async def count_message(event: MessageReceived):
    note("count_message", event.payload)
