from generated.errors import Unauthorized
from generated.responses import Reply
from generated.api.plain import PlainResponse


async def guard_middleware(context, state):
    do = (context["payload"] or {}).get("do")
    if do == "pass":
        return None
    if do == "change":
        context["payload"]["changed"] = True
        context["query_params"]["page"] = "2"
        return context
    if do == "say":
        return {"response_headers": {"x-a": ["1", "2"]}, "error": "no", "unknown": object()}
    if do == "other":
        return True
    if do == "reply":
        return Reply(data={"own": True}, status=202, headers={"x-own": "1"})
    if do == "response":
        return PlainResponse(data=1)
    if do == "refuse":
        raise Unauthorized("who are you?")
    if do == "emit":
        state.trigger_event("Counted", [1])
        state.ws.send("c", "from a middleware")
        return None
    query = context["query_params"]
    return Reply(data={
        **{name: value for name, value in context.items() if name not in ("headers", "connection")},
        "header": context["headers"].get("X-Key"),
        "tags": query.getlist("tag"),
        "connection": "connection" in context and [context["connection"].id, context["connection"].client],
        "handler": state.handler_name,
    })


async def guard_after(context, response, state):
    do = context["query_params"].get("do")
    if do == "mutate":
        response.status = 201
        response.headers["X-Total"] = "1"
        response.headers.add("x-total", "2")
        del response.headers["etag"]
        response.data["seen"] = context["payload"]
    elif do == "set":
        response.data = [1]
        return response
    elif do == "headers":
        response.headers["x-only"] = "1"
    elif do == "replace":
        return Reply(data="new", status=203, headers={"x-new": "1"})
    elif do == "wrong":
        return {"status": 200}
    elif do == "raise":
        raise Unauthorized("too late")
    return None
