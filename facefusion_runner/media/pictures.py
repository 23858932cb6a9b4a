"""Still pictures: JPEG, PNG and WebP in and out, known by their content and not by their name."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image, ImageCms, ImageOps, PngImagePlugin, UnidentifiedImageError

from facefusion_runner.errors import InputError, StorageError
from facefusion_runner.faces.types import Picture
from facefusion_runner.media.credentials import Credentials
from facefusion_runner.media.output_file import OutputFile
from facefusion_runner.media.provenance import XMP

FORMATS: Final = ("JPEG", "PNG", "WEBP")
SUFFIXES: Final = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG", ".webp": "WEBP"}
"""The names an output picture may end in."""

DEFAULT_QUALITY: Final = 95

_MAX_PIXELS: Final = 89_478_485


@dataclass(frozen=True, slots=True)
class PictureInfo:
    """A picture file as its header describes it."""

    format: str
    """"jpeg", "png" or "webp"."""
    width: int
    """Of the upright picture."""
    height: int
    has_alpha: bool
    bit_depth: int
    """Bits of a channel."""


def probe_picture(path: Path) -> PictureInfo | None:
    """What a picture is, without decoding it; None when the file is no picture of a format that is read.

    Raises InputError for one that is too large, animated or damaged, or that cannot be read.
    """
    with _damage(path):
        image = _open(path)
        if image is None:
            return None
        with image:
            if image.format in ("PNG", "WEBP") and getattr(image, "is_animated", False):
                raise InputError(
                    f"{path} is an animated {image.format}, which is not read; convert it to GIF or MP4"
                )
            width, height = image.size
            if image.getexif().get(_ORIENTATION_TAG, 1) in _SIDEWAYS:
                width, height = height, width
            return PictureInfo(_name(image), width, height, _has_alpha(image), _bit_depth(path, image))


def read_picture(path: Path) -> Picture:
    """(height, width, 3) uint8 BGR, upright by its EXIF orientation, in sRGB, transparency laid on white.

    16-bit and grey pictures become 8-bit colour. Raises InputError.
    """
    with _damage(path):
        image = _open(path)
        if image is None:
            raise InputError(f"{path} is no picture that can be read (jpg, png, webp)")
        with image:
            image.load()
            rgb = _to_rgb(ImageOps.exif_transpose(image))
            return np.ascontiguousarray(np.asarray(rgb, np.uint8)[:, :, ::-1])


def write_picture(
    path: Path,
    picture: Picture,
    quality: int | None = None,
    overwrite: bool = True,
    *,
    provenance: bool = False,
    credentials: Credentials | None = None,
) -> None:
    """Write (height, width, 3) uint8 BGR as the name's ending says; it appears under its name when complete.

    quality 0..100 is for JPEG and WebP, None is `DEFAULT_QUALITY`. With `provenance` the file says that faces
    in it were replaced, signed with `credentials`. Raises InputError for an ending that is none of
    `SUFFIXES`, StorageError; without `overwrite` also for a name that is taken.
    """
    kind = SUFFIXES.get(path.suffix.lower())
    if kind is None:
        raise InputError(f"{path} does not end in {', '.join(SUFFIXES)}")
    options: dict[str, object] = (
        {} if kind == "PNG" else {"quality": DEFAULT_QUALITY if quality is None else quality}
    )
    if kind == "JPEG":
        # Full chroma: a pasted face must not bleed into its surroundings.
        options["subsampling"] = 0
    if provenance:
        options.update(_xmp(kind))
    buffer = io.BytesIO()
    try:
        Image.fromarray(np.ascontiguousarray(picture[:, :, ::-1])).save(buffer, kind, **options)
    except (OSError, ValueError) as error:
        raise StorageError(f"{path} cannot be written as {kind}: {error}") from None
    try:
        with OutputFile(path, overwrite) as output:
            if credentials is not None:
                credentials.sign(buffer, output.file, path.suffix)
            else:
                output.file.write(buffer.getbuffer())
            output.commit()
    except FileExistsError as error:
        raise StorageError(f"{path} {error.strerror}; say --overwrite to replace it") from None
    except OSError as error:
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from None


def _xmp(kind: str) -> dict[str, object]:
    if kind != "PNG":
        return {"xmp": XMP}
    # PNG, 11.3.3.4: text under this keyword is XMP (XMP Specification Part 3, 1.1.5).
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("XML:com.adobe.xmp", XMP.decode())
    return {"pnginfo": chunks}


_ORIENTATION_TAG: Final = 0x0112
_SIDEWAYS: Final = (5, 6, 7, 8)


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turns what Pillow raises into InputError. For a damaged file that is whatever its plug-ins happen
    to raise (struct.error, SyntaxError, IndexError, …), and an OSError without a number. What it only warns
    of, such as damaged EXIF data, takes nothing from the picture."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise InputError(f"{path} cannot be read: {error.strerror or error}") from None
        raise InputError(f"{path} is damaged: {' '.join(str(error).split())}") from None


def _open(path: Path) -> Image.Image | None:
    try:
        image = Image.open(path, formats=FORMATS)
    except UnidentifiedImageError:
        return None
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    if image.width * image.height > _MAX_PIXELS:
        image.close()
        raise _too_large(path)
    return image


def _too_large(path: Path) -> InputError:
    return InputError(f"{path} has more than {_MAX_PIXELS // 10**6} million pixels")


def _name(image: Image.Image) -> str:
    # A JPEG that holds further pictures (a phone's depth or preview) is known to Pillow as MPO.
    return {"PNG": "png", "WEBP": "webp"}.get(image.format or "", "jpeg")


def _has_alpha(image: Image.Image) -> bool:
    return image.has_transparency_data


def _bit_depth(path: Path, image: Image.Image) -> int:
    if image.format != "PNG":
        return 8
    # The header chunk comes first: width, height, then the depth (PNG, 11.2.1). Pillow keeps it to itself.
    with path.open("rb") as file:
        return file.read(25)[24]


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in ("I;16", "I;16B", "I;16L", "I"):
        values = np.asarray(image, np.int64)
        grey = np.clip((values * 255 + 32767) // 65535, 0, 255).astype(np.uint8)
        image = Image.fromarray(grey)
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        profile = image.info.get("icc_profile")
        image = Image.alpha_composite(white, rgba).convert("RGB")
        image.info["icc_profile"] = profile
    elif image.mode not in ("RGB", "CMYK", "L"):
        profile = image.info.get("icc_profile")
        image = image.convert("RGB")
        image.info["icc_profile"] = profile
    return _to_srgb(image).convert("RGB")


def _to_srgb(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    if not profile:
        return image
    # A profile that is damaged or meant for another kind of picture says nothing.
    with contextlib.suppress(ImageCms.PyCMSError, OSError, ValueError):
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        if converted is not None:
            return converted
    return image
