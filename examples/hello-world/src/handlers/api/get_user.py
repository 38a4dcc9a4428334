from datetime import datetime, timezone

from generated.api.get_user import GetUserRequest
from generated.errors import NotFound
from generated.models.user import User


# A plain function runs in a thread. What it returns is the reply as it is, without the `data` around it.
def handle_get_user(req: GetUserRequest) -> User:
    if req.id != "1":
        raise NotFound(f"there is no user {req.id}")
    return User(id=1, name="World", email="hello@world.com", createdAt=datetime(2025, 12, 1, tzinfo=timezone.utc))
