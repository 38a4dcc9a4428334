import threading

from generated.api.greet import GreetRequest, GreetResponse
from generated.dto.greeting import Greeting
from generated.models.tone import Tone

# Modules are imported once per worker process, so this counts what this worker has seen.
_counts: dict[str, int] = {}
_lock = threading.Lock()

_TEXTS = {
    Tone.plain: "Hello, {name}.",
    Tone.warm: "How good to see you, {name}!",
    Tone.formal: "Good day to you, {name}.",
}


def handle_greet(req: GreetRequest) -> GreetResponse:
    with _lock:
        _counts[req.name] = _counts.get(req.name, 0) + req.query.times
        counts = dict(_counts)
    text = " ".join([_TEXTS[req.query.tone].format(name=req.name)] * req.query.times)
    language = req.headers.get("accept-language", "en").split(",")[0]
    return GreetResponse(
        data=Greeting(text=text, tone=req.query.tone, counts=counts),
        headers={"content-language": "en", "x-asked-for": language},
    )
