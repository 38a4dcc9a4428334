def brief_middleware(context):
    return {"payload": context["payload"]}


def brief_after():
    return None
