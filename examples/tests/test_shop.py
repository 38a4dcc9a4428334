"""Does examples/shop do what its README says? From outside, over HTTP."""

from __future__ import annotations

import copy
import json
import typing
import unittest

from daemon import PATIENCE, Daemon, eventually
from websockets.exceptions import ConnectionClosed

ORDER: dict[str, typing.Any] = {
    "email": " Ann@Example.com ",
    "lines": [{"sku": "TEA-01", "quantity": 2}, {"sku": "CUP-01", "quantity": 1}],
    "shipTo": {"street": "Main St 1", "city": "Springfield", "zip": "12345", "country": "de"},
    "tags": {"source": "test"},
}


def order(**changes: typing.Any) -> dict[str, typing.Any]:
    return {**copy.deepcopy(ORDER), **changes}


STAFF = {"x-staff-token": "staff-only"}


class Shop(unittest.TestCase):
    daemon: Daemon

    @classmethod
    def setUpClass(cls) -> None:
        cls.daemon = Daemon.shared_by(cls, "shop")

    def place(self, **changes: typing.Any) -> dict[str, typing.Any]:
        reply = self.daemon.post("/regions/north/orders", order(**changes))
        self.assertEqual(reply.status, 201, reply.body)
        placed: dict[str, typing.Any] = reply.json["data"]
        self.assertEqual(reply.headers["location"], f"/orders/{placed['id']}")
        return placed

    def status(self, order_id: str) -> str:
        return str(self.daemon.get(f"/orders/{order_id}").json["data"]["status"])

    def reaches(self, order_id: str, status: str) -> None:
        eventually(f"order {order_id} is {status}", lambda: self.status(order_id) == status)

    def stock(self, sku: str) -> tuple[int, int]:
        product = self.daemon.get(f"/products/{sku}").json["data"]
        return product["onHand"], product["reserved"]

    def test_an_order_goes_all_the_way(self) -> None:
        on_hand, _ = self.stock("TEA-02")
        placed = self.place(lines=[{"sku": "TEA-02", "quantity": 2}], email="way@example.com")
        self.assertEqual((placed["region"], placed["status"]), ("north", "placed"))
        self.assertEqual(placed["shipTo"]["country"], "DE")
        self.assertEqual(placed["total"], {"amount": 1300, "currency": "EUR"})
        self.reaches(placed["id"], "completed")
        self.daemon.wait_for_line(f"Thank you, way@example.com: order {placed['id']} is on its way")
        self.daemon.wait_for_line("Receipt for way@example.com: 1300 EUR")
        self.assertEqual(self.stock("TEA-02"), (on_hand - 2, 0))

    def test_an_invoice_waits_for_the_credit_check(self) -> None:
        self.reaches(self.place(payment="invoice")["id"], "completed")

    def test_too_much_is_rejected_and_nothing_stays_reserved(self) -> None:
        before = self.stock("POT-01")
        placed = self.place(lines=[{"sku": "POT-01", "quantity": 99}])
        self.reaches(placed["id"], "rejected")
        self.assertIn("99 of POT-01 were ordered", self.daemon.get(f"/orders/{placed['id']}").json["data"]["reason"])
        self.assertEqual(self.stock("POT-01"), before)

    def test_a_declined_payment_releases_the_stock(self) -> None:
        before = self.stock("SET-99")
        placed = self.place(lines=[{"sku": "SET-99", "quantity": 2}])
        self.reaches(placed["id"], "rejected")
        self.assertEqual(self.stock("SET-99"), before)

    def test_many_orders_at_once_leave_the_stock_consistent(self) -> None:
        on_hand, _ = self.stock("CUP-01")
        placed = [self.place(lines=[{"sku": "CUP-01", "quantity": 1}])["id"] for _ in range(20)]
        for order_id in placed:
            self.reaches(order_id, "completed")
        eventually("nothing stays reserved", lambda: self.stock("CUP-01")[1] == 0)
        self.assertLessEqual(self.stock("CUP-01")[0], on_hand - 20)

    def test_every_fault_is_named_with_its_path(self) -> None:
        bad = order(email="nobody", lines=[{"sku": "TEA-01", "quantity": 0}, {"sku": "CUP-01"}], payment="barter")
        reply = self.daemon.post("/regions/north/orders", bad)
        self.assertEqual(reply.status, 422, reply.body)
        paths = [fault["path"] for fault in reply.json["details"]]
        expected = [["email"], ["lines", 0, "quantity"], ["lines", 1, "quantity"], ["payment"]]
        self.assertEqual(sorted(map(str, paths)), sorted(map(str, expected)))

    def test_an_unknown_product_is_422_with_its_path(self) -> None:
        reply = self.daemon.post("/regions/north/orders", order(lines=[{"sku": "NONE", "quantity": 1}]))
        self.assertEqual((reply.status, reply.json["code"]), (422, "invalid_input"))
        self.assertEqual(reply.json["details"][0]["path"], ["lines", 0, "sku"])

    def test_a_repeated_key_is_a_conflict(self) -> None:
        key = {"Idempotency-Key": "once"}
        self.assertEqual(self.daemon.post("/regions/north/orders", ORDER, key).status, 201)
        again = self.daemon.post("/regions/north/orders", ORDER, key)
        self.assertEqual((again.status, again.json["code"]), (409, "repeated_key"))

    def test_cancelling_takes_the_order_from_the_path(self) -> None:
        placed = self.place(lines=[{"sku": "TEA-01", "quantity": 1}])
        reply = self.daemon.post(f"/orders/{placed['id']}/cancel", {"reason": " changed my mind "})
        # The chain may be faster than this request; then the order is packed and can't be cancelled any more.
        if reply.status == 200:
            cancelled = reply.json["data"]
            self.assertEqual((cancelled["status"], cancelled["reason"]), ("cancelled", "changed my mind"))
        else:
            self.assertEqual(reply.status, 409, reply.body)
        unknown = self.daemon.post("/orders/4cd3f1de-9a4d-4a29-9f0a-9b6a4f3c7f10/cancel", {})
        self.assertEqual(unknown.status, 404)
        self.assertEqual(self.daemon.post("/orders/no-uuid/cancel", {}).status, 422)

    def test_a_finished_order_can_be_deleted(self) -> None:
        placed = self.place()
        self.reaches(placed["id"], "completed")
        reply = self.daemon.request("DELETE", f"/orders/{placed['id']}", headers=STAFF)
        self.assertEqual((reply.status, reply.body), (204, b""))
        self.assertEqual(self.daemon.get(f"/orders/{placed['id']}").status, 404)

    def test_products_are_filtered_by_typed_and_repeated_query_parameters(self) -> None:
        listed = self.daemon.get("/products?label=kind&label=organic&maxPrice=1000").json["data"]
        self.assertEqual([product["sku"] for product in listed["products"]], ["TEA-01"])
        self.assertEqual(self.daemon.get("/products?search=tea%20serv").json["data"]["total"], 1)
        self.assertEqual(self.daemon.get("/products?inStock=maybe").status, 422)

    def test_orders_are_listed_by_email(self) -> None:
        placed = self.place(email="list@example.com")
        listed = self.daemon.get("/orders?email=List%40Example.com&limit=5").json["data"]["orders"]
        self.assertEqual([found["id"] for found in listed], [placed["id"]])
        self.assertEqual(self.daemon.get("/orders?limit=0").status, 422)

    def test_stock_is_added(self) -> None:
        on_hand, _ = self.stock("POT-01")
        reply = self.daemon.post("/products/POT-01/stock", {"quantity": 5}, STAFF)
        change = {"sku": "POT-01", "quantity": 5, "reason": "delivery", "onHand": on_hand + 5}
        self.assertEqual(reply.json["data"], change)
        self.assertEqual(self.daemon.post("/products/NONE/stock", {"quantity": 5}, STAFF).status, 404)

    def test_only_the_staff_changes_the_stock(self) -> None:
        before = self.stock("CUP-01")[0]
        for headers in ({}, {"x-staff-token": "gu\xe9ss"}):
            refused = self.daemon.post("/products/CUP-01/stock", {"quantity": 500}, headers)
            self.assertEqual((refused.status, refused.json["code"]), (401, "unauthorized"))
        self.assertLessEqual(self.stock("CUP-01")[0], before)

    def test_a_customer_watches_an_order(self) -> None:
        placed = self.place(payment="invoice")
        seen = []
        with self.daemon.websocket(f"/ws/orders/{placed['id']}") as client:
            while not seen or seen[-1] != "completed":
                update = json.loads(client.recv(timeout=PATIENCE))
                self.assertEqual(update["orderId"], placed["id"])
                seen.append(update["status"])
        # The updates come from handlers of different events, which don't wait for each other.
        self.assertLessEqual(set(seen), {"placed", "reserved", "authorized", "paid", "packed", "shipped", "completed"})

    def test_nobody_watches_an_order_that_is_not_there(self) -> None:
        with self.daemon.websocket("/ws/orders/none") as client:
            self.assertEqual(json.loads(client.recv(timeout=PATIENCE))["code"], "not_found")
            with self.assertRaises(ConnectionClosed):
                client.recv(timeout=PATIENCE)
            self.assertEqual(client.close_code, 1011)

    def test_what_runs_out_is_reordered(self) -> None:
        self.assertIn("LowStock", self.daemon.rohas("cron", "list"))
        self.daemon.rohas("cron", "run", "LowStock")
        self.daemon.wait_for_line("Reorder SET-99")


if __name__ == "__main__":
    unittest.main()
