from generated.api.list_products import ListProductsRequest, ListProductsResponse
from generated.dto.product_list import ProductList
from shop import store


def handle_list_products(req: ListProductsRequest) -> ListProductsResponse:
    query = req.query
    found = store.products()
    if query.search is not None:
        found = [product for product in found if query.search.lower() in product.name.lower()]
    if query.inStock:
        found = [product for product in found if product.onHand > product.reserved]
    if query.maxPrice is not None:
        found = [product for product in found if product.price.amount <= query.maxPrice]
    for label in query.label or []:
        found = [product for product in found if label in product.labels]
    return ListProductsResponse(data=ProductList(products=found, total=len(found)))
