from generated.dto.shipment import Shipment
from generated.events.order_packed import OrderPacked
from generated.models.order_status import OrderStatus
from shop import store


def ship_order(event: OrderPacked) -> Shipment:
    shipment = event.payload
    store.advance(shipment.orderId, OrderStatus.shipped, only_from={OrderStatus.packed})
    return shipment.model_copy(update={"trackingCode": f"{shipment.shipTo.country}{shipment.parcel}"})
