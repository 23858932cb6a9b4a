"""What the HTTP API says and takes, as OpenAPI sees it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from facefusion_runner.service import examples
from facefusion_runner.tasks.task import State

TaskId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$", examples=["01KB0G5W7QZ5T2K8Q3D8YV9N4C"])]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True)


def _like(*found: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": list(found)})


class ErrorDetail(_Answer):
    code: str = Field(description="For programs.", examples=["no_face"])
    message: str = Field(description="One line for people.", examples=["no face was found in source 0"])
    detail: Any = Field(default=None, description="What else is known, by code.")


class Error(_Answer):
    """Every failure, whatever its status."""

    error: ErrorDetail
    request_id: str = Field(description="Also in the header X-Request-ID and in the service's log.")


class Target(_Answer):
    kind: Literal["video", "picture"]
    width: int = Field(description="Pixels of the upright picture.")
    height: int
    frames: int | None = Field(description="As the file says, else estimated; null where neither is known.")
    duration: float | None = Field(description="Seconds; null for a picture.")


class TaskProgress(_Answer):
    stage: str = Field(
        description="checking, loading, preparing, swapping or finishing.", examples=["swapping"]
    )
    frames: int = Field(description="Frames that are done.", examples=[120])
    total: int | None = Field(description="Of all frames.", examples=[900])
    rate: float | None = Field(description="Frames per second over the last seconds.", examples=[24.8])
    eta: float | None = Field(description="Seconds that are left.", examples=[31.5])


class TaskResult(_Answer):
    bytes: int
    media_type: str = Field(examples=["video/mp4"])
    name: str = Field(
        description="Under which it is downloaded.", examples=["01KB0G5W7QZ5T2K8Q3D8YV9N4C.mp4"]
    )
    frames: int
    faces: int = Field(description="Faces that were replaced, summed over the frames.")
    url: str = Field(
        description="A link for handing on: whoever has it may download the result until link_expires_at."
    )
    link_expires_at: datetime


class Task(_Answer):
    id: TaskId
    state: State
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    expires_at: datetime | None = Field(description="When the result and the task are deleted.")
    attempts: int = Field(description="How often work on it began; more than 1 after a crash.")
    position: int | None = Field(description="How many queued tasks come before it; null unless queued.")
    options: dict[str, Any]
    target: Target
    progress: TaskProgress | None = Field(description="Null unless running.")
    timings: dict[str, float] = Field(
        description="Seconds each phase took.", examples=[{"loading": 0.6, "swapping": 31.9}]
    )
    stages: dict[str, float] = Field(
        description="Seconds each stage was at work while swapping; they work side by side."
    )
    warnings: list[str]
    error: ErrorDetail | None
    result: TaskResult | None
    preview_url: str | None = Field(
        description="A small picture of the newest finished frame; null before the first."
    )


class TaskPage(_Answer):
    tasks: list[Task] = Field(description="Newest first.")
    next: int | None = Field(description="Give it as `before` for the next page; null on the last one.")


class FoundFace(_Answer):
    index: int = Field(description="Position from the left, as the option `select` counts.")
    box: tuple[float, float, float, float] = Field(description="Left, top, right, bottom in pixels.")
    points: list[tuple[float, float]] = Field(
        description="Left eye, right eye, nose, left and right mouth corner as seen, in pixels."
    )
    score: float
    thumbnail: str = Field(
        description="A JPEG of the face with its surroundings, as a data: URI; serves as `reference`, too."
    )


class FoundFaces(_Answer):
    model_config = _like(examples.FACES)

    width: int
    height: int
    faces: list[FoundFace] = Field(description="From left to right.")


class Model(_Answer):
    id: str
    role: str
    family: str
    licence: str
    licence_url: str | None
    commercial: bool = Field(description="Whether the licence allows commercial use.")
    bytes: int | None
    built_in: bool
    state: str = Field(description="present, missing, licence or damaged.", examples=["present"])


class Models(_Answer):
    model_config = _like(examples.MODELS)

    models: list[Model]


class Health(_Answer):
    model_config = _like({"status": "ok"})

    status: Literal["ok"]


class Readiness(_Answer):
    model_config = _like(examples.READY, examples.NOT_READY)

    status: Literal["ready", "not ready"]
    reasons: list[str] = Field(description="Why it takes no task now.")


class Limits(_Answer):
    model_config = _like(examples.LIMITS)

    max_upload_bytes: int
    max_sources: int
    max_pixels: int
    max_duration_seconds: float
    require_consent: bool = Field(description="Whether a task must state that the persons shown agree.")
    keys: bool = Field(description="Whether an API key is needed.")
    formats: dict[str, list[str]] = Field(description="The option output_format, by the target's kind.")
    result_ttl_seconds: float
