def handle_delete_order(req):
    return req.orderId == "7"
