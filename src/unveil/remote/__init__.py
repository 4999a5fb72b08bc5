"""Run folders that lie on the Hugging Face Hub: what they are called, how the hub is asked, and what is taken of them."""

from unveil.remote.address import Address, is_address
from unveil.remote.client import asking, client, require
from unveil.remote.fetch import Remote

__all__ = ["Address", "Remote", "asking", "client", "is_address", "require"]
