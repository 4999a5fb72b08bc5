"""Folders of shards: many images in each file, read bit by bit, in an order that is a function of (seed, epoch)."""

from unveil.data.shards.folder import from_shards, holds_shards

__all__ = ["from_shards", "holds_shards"]
