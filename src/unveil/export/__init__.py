"""A trained model in a portable form: graphs of its functions, and bundles that need neither torch nor Unveil."""

from unveil.export.bundle import bundle
from unveil.export.graphs import Graph, Graphs, graphs
from unveil.export.loader import Bundle, load_bundle
from unveil.export.unpack import BundleError

__all__ = ["Bundle", "BundleError", "Graph", "Graphs", "bundle", "graphs", "load_bundle"]
