"""The same endpoint without a framework: Granian's own interface, pydantic's validator and serializer called directly."""

from typing import Any

from pydantic import BaseModel, ValidationError


class UserInput(BaseModel):
    name: str
    email: str


class User(BaseModel):
    id: int
    name: str
    email: str


validate_json = UserInput.__pydantic_validator__.validate_json
to_json = User.__pydantic_serializer__.to_json

JSON = [("content-type", "application/json")]


async def app(scope: Any, protocol: Any) -> None:
    if scope.path != "/users":
        return protocol.response_empty(404, [])
    if scope.method != "POST":
        return protocol.response_empty(405, [("allow", "POST")])
    try:
        body = validate_json(await protocol())
    except ValidationError as error:
        return protocol.response_bytes(422, JSON, error.json().encode())
    protocol.response_bytes(200, JSON, to_json(User(id=1, name=body.name, email=body.email)))
