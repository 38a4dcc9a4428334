from generated.api.place import PlaceRequest, PlaceResponse

from ..shared import greeting


async def handle_place(req: PlaceRequest, state):
    assert type(req) is PlaceRequest
    assert type(req.body.items[0]).__name__ == "Item"
    assert req.model_fields_set == {"region", "class_", "body", "query", "query_params", "headers"}
    state.logger.info("placing", greeting=greeting(), region=req.region)
    print(f"path {req.path_params}")
    return PlaceResponse(
        data=req.body,
        status=201,
        headers={"x-seen": ",".join(req.query_params.getlist("tag")), "x-many": ["a", "b"]},
    )


async def handle_inspect(req, state):
    return {
        "region": req.region,
        "path": req.path_params,
        "query": req.query.limit,
        "tag": req.query_params["tag"],
        "tags": req.query_params.getlist("tag"),
        "accept": req.headers["Accept"],
        "missing": req.headers.get("nope"),
        "names": list(req.headers),
        "cookies": req.cookies,
        "dump": sorted(req.model_dump()),
        "repr": repr(req)[:12],
        "trace": state.trace_id,
        "attempt": state.attempt,
        "handler": state.handler_name,
    }
