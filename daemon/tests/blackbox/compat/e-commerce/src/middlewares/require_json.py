async def require_json_middleware(context, state):
    payload = context["payload"]
    if not payload.get("items"):
        raise Exception("an order needs items")
    return {"payload": {**payload, "note": payload.get("note") or "no note"}}
