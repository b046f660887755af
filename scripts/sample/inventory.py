"""Type below and wait a moment for grey text. Tab accepts it, Escape hides it."""

from dataclasses import dataclass, field


@dataclass
class Item:
    name: str
    price: float
    quantity: int = 0


@dataclass
class Inventory:
    items: dict[str, Item] = field(default_factory=dict)

    def add(self, item: Item) -> None:
        self.items[item.name] = item

    def remove(self, name: str) -> None:
        self.items.pop(name, None)

    def total(self) -> float:
        return sum(item.price * item.quantity for item in self.items.values())

