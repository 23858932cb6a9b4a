"""What requests and answers look like, for the OpenAPI document."""

from __future__ import annotations

import json
from typing import Any, Final

_ID: Final = "01KB0G5W7QZ5T2K8Q3D8YV9N4C"
_LINK: Final = (
    f"https://swap.example/v1/tasks/{_ID}/result?expires=1764129600&signature=cxTZ0wQ9JH3vC1nD0XkqgFz2sYw"
)

FINISHED: Final[dict[str, Any]] = {
    "id": _ID,
    "state": "succeeded",
    "created_at": "2025-11-26T03:14:07.120000Z",
    "started_at": "2025-11-26T03:14:07.180000Z",
    "finished_at": "2025-11-26T03:14:41.900000Z",
    "expires_at": "2025-11-27T03:14:41.900000Z",
    "attempts": 1,
    "position": None,
    "options": {"select": "largest", "blend_mode": "seamless"},
    "target": {"kind": "video", "width": 1280, "height": 720, "frames": 900, "duration": 30.0},
    "progress": None,
    "timings": {"loading": 0.6, "preparing": 0.2, "swapping": 31.9, "finishing": 0.4},
    "stages": {"analysis": 21.4, "generation": 9.8, "masking": 1.2, "blending": 3.1},
    "warnings": [],
    "error": None,
    "result": {
        "bytes": 5120034,
        "media_type": "video/mp4",
        "name": f"{_ID}.mp4",
        "frames": 900,
        "faces": 884,
        "url": _LINK,
        "link_expires_at": "2025-11-26T04:00:00Z",
    },
    "preview_url": None,
}
QUEUED: Final[dict[str, Any]] = {
    **FINISHED,
    "state": "queued",
    "started_at": None,
    "finished_at": None,
    "expires_at": None,
    "attempts": 0,
    "position": 0,
    "timings": {},
    "stages": {},
    "result": None,
}
RUNNING: Final[dict[str, Any]] = {
    **QUEUED,
    "state": "running",
    "started_at": FINISHED["started_at"],
    "attempts": 1,
    "position": None,
    "progress": {"stage": "swapping", "frames": 120, "total": 900, "rate": 24.8, "eta": 31.5},
    "preview_url": _LINK.replace("/result?", "/preview?"),
}
PAGE: Final[dict[str, Any]] = {"tasks": [FINISHED], "next": 17}
FACES: Final[dict[str, Any]] = {
    "width": 1280,
    "height": 886,
    "faces": [
        {
            "index": 0,
            "box": [53.1, 256.0, 165.2, 401.4],
            "points": [[81.0, 315.2], [134.6, 312.9], [108.3, 342.0], [88.7, 368.1], [130.2, 366.4]],
            "score": 0.9921,
            "thumbnail": "data:image/jpeg;base64,/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAMCAgICAgMCAgIDAwMDBAYEBAQ",
        }
    ],
}
MODELS: Final[dict[str, Any]] = {
    "models": [
        {
            "id": "my_detector",
            "role": "detector",
            "family": "my_family",
            "licence": "apache-2.0",
            "licence_url": "https://www.apache.org/licenses/LICENSE-2.0",
            "commercial": True,
            "bytes": 1201344,
            "built_in": True,
            "state": "present",
        }
    ]
}
LIMITS: Final[dict[str, Any]] = {
    "max_upload_bytes": 2000000000,
    "max_sources": 8,
    "max_pixels": 52000000,
    "max_duration_seconds": 3600.0,
    "require_consent": False,
    "keys": True,
    "formats": {"video": ["mp4", "mov", "mkv", "webm"], "picture": ["jpg", "png", "webp"]},
    "result_ttl_seconds": 86400.0,
}
READY: Final[dict[str, Any]] = {"status": "ready", "reasons": []}
NOT_READY: Final[dict[str, Any]] = {"status": "not ready", "reasons": ["the queue is full"]}
METRICS: Final = """# HELP facefusion_tasks Tasks that are kept.
# TYPE facefusion_tasks gauge
facefusion_tasks{state="queued"} 0.0
"""

_ERRORS: Final = {
    400: ("bad_multipart", "not a multipart request that can be read: Unexpected end of stream"),
    401: ("unauthorized", "an API key is needed: Authorization: Bearer KEY"),
    403: ("link_expired", "this link is not, or no longer, good"),
    404: ("not_found", f"there is no task {_ID}"),
    408: ("too_slow", "the upload came too slowly: nothing arrived for 20 s"),
    409: ("task_exists", "there is a task holiday already"),
    413: ("too_large", "the request is larger than the 2000000000 bytes that are taken"),
    415: ("not_multipart", "the request must be multipart/form-data"),
    416: ("range_not_satisfiable", "the result has no such range"),
    422: ("bad_configuration", "options: fps = 'fast': must be frames per second above 0 up to 1000"),
    429: ("queue_full", "100 tasks wait already; try again later"),
    503: ("shutting_down", "the service is shutting down"),
    507: ("storage_failed", "the disk of CACHE_ROOT is 91 % full; no task is taken above 80 %"),
}


def error(status: int) -> dict[str, Any]:
    """The answer of this status."""
    code, message = _ERRORS[status]
    return {
        "error": {"code": code, "message": message, "detail": None},
        "request_id": "01KB0G5W8ZV1D1G6X3S4Q5H7YA",
    }


def event(task: dict[str, Any]) -> str:
    """A task as one server-sent event."""
    return f"event: task\ndata: {json.dumps(task)}\n\n"
