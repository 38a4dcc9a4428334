async def f(req):
    return (
