from generated.api.get_product import GetProductRequest, GetProductResponse
from generated.errors import NotFound
from shop import store


def handle_get_product(req: GetProductRequest) -> GetProductResponse:
    product = store.product(req.sku)
    if product is None:
        raise NotFound(f"there is no product {req.sku}")
    return GetProductResponse(data=product)
