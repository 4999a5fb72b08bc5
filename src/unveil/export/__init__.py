"""A trained model in a portable form: graphs of its functions, and bundles that need neither torch nor Unveil."""

from unveil.export.graphs import Graph, Graphs, graphs

__all__ = ["Graph", "Graphs", "graphs"]
