"""One image to bytes (C, H, W): what is looked at is what a person would see, whatever way it was stored.

Formats are those of `FORMATS` alone, and no file with more than `PIXELS` pixels is decoded, since a few bytes can claim to
be gigabytes. 16-bit gray is scaled rather than clipped, the orientation that a camera noted is applied, what is
transparent is laid over a background, CMYK and palettes become colours, and of an animation the first frame is taken.
"""

from __future__ import annotations

import io
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from unveil.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""Formats that are decoded. Others have decoders too, written for fewer eyes."""
PIXELS = 2**26
"""Most pixels of a file, 67 million: 200 MB in colour."""
WHITE16 = 65535
"""White in 16 bits."""
GRAY = ("1", "L", "LA", "I;16", "I;16B", "I;16L", "I")
"""Pillow's names for pixels without colour."""
CLEAR = ("RGBA", "LA", "PA", "RGBa", "La")
"""Its names for pixels that can be transparent."""

Fit = Literal["crop", "pad", "stretch"]


class BadImageError(DataError):
    """A file that is no image, or one that is damaged, too large or of a kind that cannot be shown.

    Args:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: object, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.reason = reason


@dataclass(frozen=True)
class Frame:
    """How images are brought to one shape.

    Attributes:
        size: (height, width).
        channels: 1 for gray, 3 for colour.
        fit: 'crop' cuts the longer side around the middle, 'pad' adds background beside the shorter one, 'stretch' bends.
        background: the byte that lies behind what is transparent and beside what is padded, 255 for white.
    """

    size: tuple[int, int]
    channels: int
    fit: Fit = "crop"
    background: int = 255


@dataclass(frozen=True)
class Header:
    """What a file says of itself before it is decoded.

    Attributes:
        size: (height, width), as it is to be looked at.
        gray: whether its pixels have no colour.
        frames: how many pictures it holds; the first one is taken.
    """

    size: tuple[int, int]
    gray: bool
    frames: int


@dataclass(frozen=True)
class Blob:
    """An image file that lies within another one.

    Attributes:
        name: what messages call it.
        content: its bytes.
    """

    name: str
    content: bytes

    def __str__(self) -> str:
        return self.name


def header(path: Path | Blob) -> Header:
    """Look at a file without decoding its pixels.

    Raises:
        BadImageError: no regular file, no image, or too large a one.
    """
    with _opened(path) as image:
        width, height = image.size
        turned = image.getexif().get(0x0112, 1) in (5, 6, 7, 8)  # orientations that swap the sides
        return Header((width, height) if turned else (height, width), image.mode in GRAY, getattr(image, "n_frames", 1))


def decode(path: Path | Blob, frame: Frame) -> np.ndarray:
    """(C, H, W) bytes of an image file, in the shape of `frame`.

    Raises:
        BadImageError: no regular file, no image, a damaged or too large one, or pixels that have no white.
    """
    with _opened(path) as image:
        return framed(image, frame, str(path))


def framed(image: Any, frame: Frame, name: str) -> np.ndarray:
    """(C, H, W) bytes of Pillow's `image`, in the shape of `frame`; `name` is what messages call it.

    Raises:
        BadImageError: pixels that have no white.
    """
    from PIL import Image, ImageOps

    image = ImageOps.exif_transpose(image)
    image = _eight_bits(image, name)
    mode = "L" if frame.channels == 1 else "RGB"
    if image.mode in CLEAR or "transparency" in image.info:
        clear = image.convert("RGBA")
        behind = Image.new("RGBA", clear.size, (frame.background,) * 3 + (255,))
        image = Image.alpha_composite(behind, clear)
    image = image.convert("RGB").convert(mode) if image.mode not in (mode, "L") else image.convert(mode)
    size = (frame.size[1], frame.size[0])
    if image.size != size:
        way = Image.Resampling.LANCZOS
        if frame.fit == "crop":
            image = ImageOps.fit(image, size, way)
        elif frame.fit == "pad":
            image = ImageOps.pad(image, size, way, color=(frame.background,) * (3 if mode == "RGB" else 1))
        else:
            image = image.resize(size, way)
    pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _eight_bits(image: Any, path: str) -> Any:
    """The image with a byte for each number."""
    from PIL import Image

    if image.mode == "F":
        raise BadImageError(path, "its pixels are real numbers, of which none is white; store bytes or 16-bit gray")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > WHITE16:
        raise BadImageError(path, f"its pixels go from {values.min()} to {values.max()}; store at most 16 bits of gray")
    return Image.fromarray(((values * 255 + WHITE16 // 2) // WHITE16).astype(np.uint8))


@cache
def _hush() -> None:
    """Let Pillow keep to itself what it makes of odd files. Once, since what `catch_warnings` does threads undo."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


@contextmanager
def _opened(path: Path | Blob) -> Iterator[Any]:
    """The image in a file, not yet decoded; whatever goes wrong within is a BadImageError that names the file."""
    from PIL import Image

    try:
        if isinstance(path, Path) and not stat.S_ISREG(
            path.stat().st_mode
        ):  # to open a pipe would wait for whoever writes to it
            raise BadImageError(path, "it is no regular file")
        _hush()
        with Image.open(io.BytesIO(path.content) if isinstance(path, Blob) else path, formats=FORMATS) as image:
            width, height = image.size
            if width * height > PIXELS:
                raise BadImageError(path, f"{width} x {height} pixels are more than {PIXELS:,}; shrink it first")
            yield image
    except BadImageError:
        raise
    except MemoryError:
        raise BadImageError(path, "it does not fit into memory") from None
    except Exception as error:  # decoders raise a dozen foreign types for damaged files
        raise BadImageError(path, _reason(error)) from None


def _reason(error: Exception) -> str:
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, Image.DecompressionBombError):
        return f"its pixels are more than {PIXELS:,}; shrink it first"
    if isinstance(error, UnidentifiedImageError):
        return f"it is no image of a kind that is read ({', '.join(FORMATS)})"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return f"it is damaged: {(str(error).splitlines() or [type(error).__name__])[0][:100]}"
