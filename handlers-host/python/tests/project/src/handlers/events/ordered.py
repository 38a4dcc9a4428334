import datetime

from generated.events.ordered import Ordered


async def ordered(event: Ordered, state):
    assert type(event) is Ordered and type(event.payload).__name__ == "OrderInput"
    assert event.timestamp == datetime.datetime(2026, 11, 21, 3, 4, 5, 678901, tzinfo=datetime.timezone.utc)
    assert event.timestamp.utcoffset() == datetime.timedelta(0)
    return {"id": event.event_id, "key": event.key, "email": event.payload.email, "attempt": state.attempt}


def counted(event):
    return sum(event.payload)
