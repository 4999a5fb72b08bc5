"""The browser face: one page, which opens from a file without a network, in which a person moves through a latent space."""

from unveil.explorer.writing import write_page

__all__ = ["write_page"]
