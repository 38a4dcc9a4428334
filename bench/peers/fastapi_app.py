"""The same endpoint in FastAPI, for uvicorn and for Granian."""

from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()


class UserInput(BaseModel):
    name: str
    email: str


class User(BaseModel):
    id: int
    name: str
    email: str


@app.post("/users")
async def create_user(body: UserInput) -> User:
    return User(id=1, name=body.name, email=body.email)
