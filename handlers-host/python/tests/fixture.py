"""The project that the tests load: its handlers, and the generated package made complete with codegen's own templates."""

import shutil
from pathlib import Path

HERE = Path(__file__).resolve().parent
TEMPLATES = HERE.parent.parent.parent / "codegen" / "src" / "python" / "templates"


class Project:
    """A copy of the fixture project."""

    events = ["Counted", "Ordered"]
    websockets = ["Blob", "Chat"]

    def __init__(self, root):
        self.root = Path(root).resolve()
        shutil.copytree(HERE / "project", self.root, dirs_exist_ok=True)
        for name in ("runtime.py", "state.py", "errors.py", "responses.py"):
            shutil.copy(TEMPLATES / name, self.root / "src" / "generated" / name)
        self.handlers = []

    def index(self, name):
        return next(index for index, handler in enumerate(self.handlers) if handler["name"] == name)

    def api(self, name, file, cls="PlainRequest", module="generated.api.plain", functions=None):
        place = cls == "PlaceRequest"
        self.handlers.append({
            "kind": "api", "name": name, "file": f"src/handlers/{file}", "functions": functions or [f"handle_{name}", name],
            "module": module, "class": cls, "path_params": ["region", "class"] if place else [],
            "body": {"record": "OrderInput"} if place else None if cls == "EmptyRequest" else "json",
            "query": {"record": "Filter"} if place else None,
        })  # fmt: skip
        return self

    def event(self, name, cls, module, payload):
        self.handlers.append({
            "kind": "event", "name": name, "file": "src/handlers/events/ordered.py", "functions": [f"handle_{name}", name],
            "module": module, "class": cls, "payload": payload,
        })  # fmt: skip
        return self

    def websocket(self, name, file="websockets/chat.py", ws="Chat"):
        self.handlers.append({
            "kind": "websocket", "name": name, "file": f"src/handlers/{file}", "functions": [f"handle_{name}", name],
            "module": "generated.websockets.chat", "class": f"{ws}Connection", "message_class": f"{ws}Message",
            "payload": {"record": "OrderInput"} if ws == "Chat" else "bytes",
        })  # fmt: skip
        return self

    def cron(self, name, file="cron/nightly.py"):
        self.handlers.append({"kind": "cron", "name": name, "file": f"src/handlers/{file}", "functions": [f"handle_{name}"]})
        return self

    def middleware(self, name):
        file = f"src/middlewares/{name}.py"
        self.handlers.append({"kind": "middleware", "name": name, "file": file, "functions": [f"{name}_middleware"]})
        self.handlers.append({"kind": "after", "name": f"after_{name}", "file": file, "functions": [f"{name}_after"]})
        return self


WEBSOCKET = """nothing only_connection opened said said_sync pushes pushes_and_fails streams blocks wrong""".split()
BEHAVIOUR = """sleeper blocker held surrogates contexts contexts_sync prints prints_sync chatters floods long_line raises raises_sync emits ids kills spins
echo echo_sync cancels cancels_itself tasks background awaitable pickles called variadic defaults""".split()
WITHOUT_BODY = "counter where none forks environment descriptors forget release".split()


def complete(root):
    """The project with all handlers that can be loaded."""
    project = Project(root)
    project.api("place", "api/place.py", "PlaceRequest", "generated.api.place")
    project.api("inspect", "api/place.py", "PlaceRequest", "generated.api.place")
    project.api("results", "api/results.py").api("results_sync", "api/results.py")
    for name in BEHAVIOUR:
        project.api(name, "api/behaviour.py")
    for name in WITHOUT_BODY:
        project.api(name, "api/behaviour.py", "EmptyRequest")
    project.event("ordered", "Ordered", "generated.events.ordered", {"record": "OrderInput"})
    for name in WEBSOCKET:
        project.websocket(name)
    project.websocket("blob", ws="Blob").cron("nightly").cron("bare").middleware("guard").middleware("brief")
    project.event("counted", "Counted", "generated.events.counted", {"array": "int"})
    return project
