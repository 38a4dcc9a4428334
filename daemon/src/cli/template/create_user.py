from datetime import datetime, timezone

from generated.api.create_user import CreateUserRequest, CreateUserResponse
from generated.models.user import User
from generated.state import State


async def handle_create_user(req: CreateUserRequest, state: State) -> CreateUserResponse:
    user = User(
        id=state.generate_id(),
        name=req.body.name,
        email=req.body.email,
        createdAt=datetime.now(timezone.utc),
    )
    state.logger.info("user created", id=user.id)
    # UserCreated is triggered by the schema, with this user as its payload.
    return CreateUserResponse(data=user)
