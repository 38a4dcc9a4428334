"""Who gives us the money? A stand-in for a payment provider: it answers as one would, without a network."""

from __future__ import annotations

import asyncio

from generated.dto.money import Money
from generated.models.payment_method import PaymentMethod
from shop import store

#: The provider declines orders above this, in cents.
LIMIT = 200_000


class Declined(Exception):
    """The provider doesn't guarantee the money."""


class Pending(Exception):
    """The provider doesn't know yet; ask again."""


async def authorize(order_id: str, amount: Money, method: PaymentMethod) -> str:
    """The provider's id for the payment."""
    await asyncio.sleep(0.01)
    if amount.amount > LIMIT:
        raise Declined(f"{amount.amount} {amount.currency.value} is above the limit")
    # SQLite blocks; the other handlers of this event loop don't have to wait for it.
    if method is PaymentMethod.invoice and not await asyncio.to_thread(store.credit_check, order_id):
        raise Pending("the credit check is under way")
    return f"pay_{order_id}"


async def capture(payment_id: str) -> None:
    """Takes the money. The provider does so once per payment, however often it is asked."""
    await asyncio.sleep(0.01)
