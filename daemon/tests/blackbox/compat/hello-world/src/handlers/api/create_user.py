from datetime import datetime

from generated.api.create_user import CreateUserRequest, CreateUserResponse
from generated.models.user import User
from generated.state import State


async def handle_create_user(req: CreateUserRequest, state: State) -> CreateUserResponse:
    user = User(id=1, name=req.body.name, email=req.body.email, createdAt=datetime.now())
    return CreateUserResponse(data=user)
