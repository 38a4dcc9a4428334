from generated.api.create_user import CreateUserRequest
from generated.models.user import User


async def handle_create_user(req: CreateUserRequest) -> User:
    return User(id=1, name=req.body.name, email=req.body.email)
