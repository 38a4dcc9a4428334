from generated.api.who_am_i import WhoAmIRequest, WhoAmIResponse
from generated.dto.me import Me


async def handle_who_am_i(req: WhoAmIRequest) -> WhoAmIResponse:
    return WhoAmIResponse(data=Me(name=req.query_params["user"]))
