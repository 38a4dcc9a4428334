async def broken(req):
    yield 1
