from generated.api.add_stock import AddStockRequest, AddStockResponse
from generated.dto.stock_change import StockChange
from generated.errors import NotFound
from shop import store


def handle_add_stock(req: AddStockRequest) -> AddStockResponse:
    product = store.add_stock(req.sku, req.body.quantity)
    if product is None:
        raise NotFound(f"there is no product {req.sku}")
    change = StockChange(sku=req.sku, quantity=req.body.quantity, reason=req.body.reason, onHand=product.onHand)
    return AddStockResponse(data=change)
