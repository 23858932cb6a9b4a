"""What an output says about itself: that a machine replaced faces in it.

The statement is IPTC's digital source type (NewsCodes, 2022), in an XMP packet (ISO 16684-1) where the format
has a place for one, and for people in the tag that players show as a comment.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import MutableMapping
from typing import BinaryIO, Final

from facefusion_runner import __version__

SOURCE_TYPE: Final = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"

NOTICE: Final = "AI-manipulated: faces were replaced by facefusion-runner."

TAG: Final = "DIGITAL_SOURCE_TYPE"
"""Name of the Matroska tag that holds `SOURCE_TYPE`."""

XMP_BOX: Final = uuid.UUID("be7acfcb-97a9-42e8-9c71-999491e3afac")
"""Type of the top-level `uuid` box that holds XMP in MP4 (XMP Specification Part 3, 1.2.7.1)."""

XMP: Final = f"""<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
    xmlns:xmp="http://ns.adobe.com/xap/1.0/"
    xmlns:dc="http://purl.org/dc/elements/1.1/"
    xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
    xmp:CreatorTool="facefusion-runner {__version__}"
    Iptc4xmpExt:DigitalSourceType="{SOURCE_TYPE}">
   <dc:description><rdf:Alt><rdf:li xml:lang="x-default">{NOTICE}</rdf:li></rdf:Alt></dc:description>
  </rdf:Description>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>""".encode()


def mark(metadata: MutableMapping[str, str], muxer: str) -> None:
    """Adds to the tags that FFmpeg's muxer of this name will write; a comment there goes on after ours."""
    for key in [key for key in metadata if key.lower() == "comment"]:
        said = metadata.pop(key)
        metadata["comment"] = said if NOTICE in said else f"{NOTICE} {said}"
    metadata.setdefault("comment", NOTICE)
    if muxer in ("matroska", "webm"):
        metadata[TAG] = SOURCE_TYPE
    if muxer == "mov":
        # Becomes the atom XMP_ among the film's user data.
        metadata["xmp"] = XMP.decode()


def append_xmp_box(file: BinaryIO) -> None:
    """Adds the XMP packet to a finished MP4 file. Raises OSError."""
    file.seek(0, 2)
    content = XMP_BOX.bytes + XMP
    file.write(struct.pack(">I4s", 8 + len(content), b"uuid") + content)
