async def broken(req, state, third):
    pass
