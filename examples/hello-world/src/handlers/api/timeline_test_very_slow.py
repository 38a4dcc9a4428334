import time

from generated.api.timeline_test_very_slow import TimelineTestVerySlowRequest, TimelineTestVerySlowResponse
from generated.state import State


# Blocking is fine in a plain function: it has a thread of its own, and other calls go on.
def handle_timeline_test_very_slow(req: TimelineTestVerySlowRequest, state: State) -> TimelineTestVerySlowResponse:
    time.sleep(6)
    state.set_payload("VerySlowCompleted", {"operation": "very slow", "duration": 6000})
    return TimelineTestVerySlowResponse(data="very slow operation completed")
