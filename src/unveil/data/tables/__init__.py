"""Tables from files: columns with names, each of a kind that its cells suggest, and with gaps."""

from unveil.data.tables.named import by_name
from unveil.data.tables.refilled import arrow, refilled, written
from unveil.data.tables.table import SUFFIXES, How, from_table, read, read_like

__all__ = ["SUFFIXES", "How", "arrow", "by_name", "from_table", "read", "read_like", "refilled", "written"]
