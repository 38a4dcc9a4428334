from generated.api.taken import TakenRequest, TakenResponse
from generated.state import State


async def handle_taken(req: TakenRequest, state: State) -> TakenResponse:
    """PUT /taken/{body}/{class}/:copy/{headers}/{str}"""
    raise NotImplementedError("the handler of PUT /taken/{body}/{class}/:copy/{headers}/{str} is not written yet")
