"""Images from files: decoded with care, so that nothing is silently mangled, and one bad file never ends the work."""

from unveil.data.images.decode import BadImageError, Frame, decode, header
from unveil.data.images.folder import from_folder
from unveil.data.images.scan import Listing, scan

__all__ = ["BadImageError", "Frame", "Listing", "decode", "from_folder", "header", "scan"]
