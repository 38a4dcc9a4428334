async def alone_middleware(context, state):
    return None
