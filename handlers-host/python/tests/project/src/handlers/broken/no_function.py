async def handle_somethin(req):
    pass


def other():
    pass
