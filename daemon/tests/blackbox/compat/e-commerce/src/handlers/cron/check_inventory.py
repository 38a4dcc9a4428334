async def handle_check_inventory():
    return {"products": [1, 2, 3]}
