"""Who is in the payments database: invented people and card numbers that the networks and processors publish for testing."""

from typing import NamedTuple


class Customer(NamedTuple):
    customer_id: str
    name: str
    email: str
    card_number: str
    card_expires: str


class Order(NamedTuple):
    order_id: str
    customer_id: str
    item: str
    amount_minor: int
    currency: str
    status: str
    created_at: str


PUBLISHED_TEST_CARDS = (
    # Visa
    "4111111111111111", "4012888888881881", "4242424242424242", "4000056655665556", "4005519200000004", "4009348888881881",
    # Mastercard
    "5555555555554444", "5105105105105100", "5200828282828210", "2223003122003222", "2223000048400011",
    # American Express
    "378282246310005", "371449635398431", "378734493671000",
    # Discover
    "6011111111111117", "6011000990139424", "6011981111111113",
    # Diners Club
    "3056930009020004", "36227206271667", "38520000023237",
    # JCB
    "3566002020360505", "3530111333300000",
)  # fmt: skip
"""Test numbers from the documentation of Stripe, Braintree, Adyen and PayPal. None can be charged."""

_GIVEN_NAMES = (
    "Ambrosia", "Barnaby", "Clementine", "Dagobert", "Eulalia", "Fitzgerald", "Guinevere", "Hieronymus", "Isadora", "Jeremiah",
    "Kunigunde", "Leopold", "Marigold", "Nepomuk", "Ophelia", "Peregrine", "Quintessa", "Rutherford", "Seraphina", "Thaddeus",
)  # fmt: skip
_FAMILY_NAMES = (
    "Testerton",
    "Sampleworth",
    "Mockingham",
    "Placeholder",
    "Fauxley",
    "Dummersby",
    "Stubbs-Fixture",
    "Examplar",
)
_ITEMS = ("coffee beans, 1 kg", "hiking boots", "desk lamp", "train ticket", "headphones", "cookbook", "rain jacket")
_STATES = ("paid", "paid", "shipped", "refunded", "paid", "disputed")

CUSTOMER_COUNT = 40
ORDERS_PER_CUSTOMER = 3


def customers() -> tuple[Customer, ...]:
    """Forty invented people, the same at each call; ids `cus_1001` … `cus_1040`. Addresses end in `.example` (RFC 2606)."""
    return tuple(_customer(number) for number in range(CUSTOMER_COUNT))


def orders() -> tuple[Order, ...]:
    """Three orders for each customer, the same at each call; ids `ord_5001` … `ord_5120`. Amounts in minor units (cents)."""
    return tuple(_order(number) for number in range(CUSTOMER_COUNT * ORDERS_PER_CUSTOMER))


def _customer(number: int) -> Customer:
    given = _GIVEN_NAMES[number % len(_GIVEN_NAMES)]
    family = _FAMILY_NAMES[(number * 3 + number // len(_GIVEN_NAMES)) % len(_FAMILY_NAMES)]
    return Customer(
        customer_id=f"cus_{1001 + number}",
        name=f"{given} {family}",
        email=f"{given}.{family}@shop.example".lower(),
        card_number=PUBLISHED_TEST_CARDS[number % len(PUBLISHED_TEST_CARDS)],
        card_expires=f"{1 + number % 12:02d}/{2028 + number % 5}",
    )


def _order(number: int) -> Order:
    return Order(
        order_id=f"ord_{5001 + number}",
        customer_id=f"cus_{1001 + number % CUSTOMER_COUNT}",
        item=_ITEMS[number % len(_ITEMS)],
        amount_minor=1290 + (number * 787) % 24_000,
        currency="EUR",
        status=_STATES[number % len(_STATES)],
        created_at=f"2026-{1 + number % 9:02d}-{1 + number % 27:02d}T{8 + number % 11:02d}:15:00Z",
    )
