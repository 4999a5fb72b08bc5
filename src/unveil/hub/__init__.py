"""A run on the Hugging Face Hub: what of it leaves, the card that goes with it, and its way there."""

from unveil.hub.pushing import Pushed, push

__all__ = ["Pushed", "push"]
