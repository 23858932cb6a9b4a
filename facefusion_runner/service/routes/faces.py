"""Which faces there are to choose from."""

from __future__ import annotations

import asyncio
import math
from typing import Any, Final

from fastapi import APIRouter, Request

from facefusion_runner.service import schemas
from facefusion_runner.service.access import AUTHENTICATION, Caller
from facefusion_runner.service.admission import check_disks
from facefusion_runner.service.context import InContext
from facefusion_runner.service.errors import ApiError, described
from facefusion_runner.service.uploads import declared_bytes, received
from facefusion_runner.tasks.supervisor import common_settings

router = APIRouter(prefix="/v1/faces", tags=["faces"])

_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["picture"],
                    "properties": {
                        "picture": {
                            "type": "string",
                            "format": "binary",
                            "description": "A picture, or a video of which one frame is looked at.",
                        },
                        "time": {
                            "type": "number",
                            "minimum": 0,
                            "maximum": 1000000,
                            "description": "Seconds at which the video is looked at. Default: 0.",
                        },
                    },
                },
                "example": {"picture": "(clip.mp4)", "time": 12.5},
            }
        },
    }
}


@router.post(
    "",
    response_model=schemas.FoundFaces,
    responses=described(400, 401, 403, 408, 413, 415, 422, 507),
    openapi_extra=_BODY,
    dependencies=AUTHENTICATION,
    summary="Find faces",
    operation_id="find_faces",
)
async def find(request: Request, context: InContext, caller: Caller) -> schemas.FoundFaces:
    """Boxes, points and thumbnails, from left to right; nothing of it is kept."""
    declared = declared_bytes(request, context.settings.max_upload_bytes)
    await asyncio.to_thread(check_disks, context.settings, context.files.root, declared)
    async with received(request, context, {"picture": 1}, frozenset({"time"})) as upload:
        if not upload.files.get("picture"):
            raise ApiError(422, "missing_part", "the part picture is missing")
        job = {
            "job": "faces",
            "picture": str(upload.folder / upload.files["picture"][0]),
            "seconds": _seconds(upload.fields.get("time", "")),
            "max_pixels": context.settings.max_pixels,
            "settings": common_settings(context.loaded),
        }
        answer = await context.inspector.run(job, upload.folder)
    return schemas.FoundFaces(**{name: answer[name] for name in ("width", "height", "faces")})


def _seconds(text: str) -> float:
    try:
        seconds = float(text or 0)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 1e6:
        raise ApiError(422, "bad_input", "time: must be seconds from 0 to 1000000")
    return seconds
