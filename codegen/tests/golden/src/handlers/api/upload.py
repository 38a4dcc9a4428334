from generated.api.upload import UploadRequest, UploadResponse
from generated.state import State


async def handle_upload(req: UploadRequest, state: State) -> UploadResponse:
    """POST /upload"""
    raise NotImplementedError("the handler of POST /upload is not written yet")
