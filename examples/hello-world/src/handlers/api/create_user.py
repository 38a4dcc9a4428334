from datetime import datetime, timezone

from generated.api.create_user import CreateUserRequest, CreateUserResponse
from generated.models.user import User
from generated.state import State


async def handle_create_user(req: CreateUserRequest, state: State) -> CreateUserResponse:
    state.logger.info("creating a user", email=req.body.email)
    user = User(
        id=1,
        name=req.body.name,
        email=req.body.email,
        createdAt=datetime.now(timezone.utc),
    )
    # `UserCreated` stands in the api's `triggers:`. It carries this user, since the reply's data fit its payload type.
    return CreateUserResponse(data=user)
