"""Every setting, declared once: its name, kind, default and meaning.

A setting has one name: `CACHE_TTL_SECONDS` in the environment, `cache_ttl_seconds` in the JSON of
`--config`, `--cache-ttl-seconds` as a flag. `facefusion_runner.loading` reads the three, and the
command line makes its flags from this declaration. Each class is one section of the help.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from platformdirs import user_data_path
from pydantic import BaseModel, Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from facefusion_runner import kinds, values

Artifact = Literal["frames", "crops", "landmarks", "embeddings", "masks", "transforms", "swapped"]

API_KEY: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}:[0-9a-fA-F]{64}"
DEVICE: Final = r"auto|cpu|(cuda|tensorrt)(:\d{1,2})?"

Boolean = Annotated[bool, *kinds.boolean()]
Seconds = Annotated[float, *kinds.number("SECONDS", 0, unit="seconds as a number")]
Share = Annotated[float, *kinds.number("0..1", 0, 1)]
OptionalShare = Annotated[float | None, *kinds.number("0..1", 0, 1)]
Moment = Annotated[Fraction | None, *kinds.single(values.moment, "TIME")]
OptionalPath = Annotated[Path | None, *kinds.path()]
ModelName = Annotated[str, *kinds.word("MODEL", "auto, a model's id or a family")]
OptionalModelName = Annotated[str | None, *kinds.word("MODEL", "auto, a model's id or a family")]
MaskKind = Literal["box", "hull", "occlusion", "region"]


class Files(BaseModel):
    """Files"""

    source: Annotated[tuple[Path, ...], *kinds.paths()] = Field(
        default=(), description="Picture of the face to put in; several of one person are averaged."
    )
    target: OptionalPath = Field(default=None, description="Video or picture whose faces are replaced.")
    output: OptionalPath = Field(
        default=None, description="Where the result goes; appears only when complete."
    )
    overwrite: Boolean = Field(default=False, description="Replace an existing output.")
    task_id: Annotated[
        str | None, *kinds.word("ID", "1 to 64 of A-Z a-z 0-9 _ -", r"[A-Za-z0-9_-]{1,64}")
    ] = Field(
        default=None,
        description="Name of the task and of its cache; started again under it, the task of a film that was "
        "killed goes on. Default: a new one.",
    )


class Stretch(BaseModel):
    """Part of the target"""

    trim_start: Moment = Field(default=None, description="Leave out what comes before; seconds or HH:MM:SS.")
    trim_end: Moment = Field(
        default=None, description="Leave out what comes from here on; seconds or HH:MM:SS."
    )
    fps: Annotated[Fraction | None, *kinds.single(values.rate, "RATE")] = Field(
        default=None, description="Frames per second of the output, at the same speed. Default: the target's."
    )


class Faces(BaseModel):
    """Which faces"""

    select: Annotated[Literal["all", "largest", "reference"] | tuple[int, ...], *kinds.selection()] = Field(
        default="all", description="Faces to replace; N counts from the left, the first is 0."
    )
    reference: OptionalPath = Field(default=None, description="Picture of the person that is replaced.")
    reference_distance: Annotated[float, *kinds.number("0..2", 0, 2)] = Field(
        default=0.6, description="Cosine distance below which a face is the reference person."
    )
    require_face: Boolean = Field(default=False, description="Fail when no face of the target is replaced.")


class Networks(BaseModel):
    """Networks"""

    detector: ModelName = Field(default="auto", description="Finds faces.")
    detect_size: Annotated[int | None, *kinds.whole("PIXELS", 64, 4096)] = Field(
        default=None,
        description="Longer side of the picture the detector sees; more finds smaller faces. "
        "Default: the model's own.",
    )
    detect_score: OptionalShare = Field(
        default=None, description="Smallest score of a face. Default: the model's own."
    )
    detect_nms: OptionalShare = Field(
        default=None, description="Largest overlap of two faces that are both kept. Default: the model's own."
    )
    detect_every: Annotated[int, *kinds.whole("N", 1, 1000)] = Field(
        default=1, description="Detect in every Nth frame and track between."
    )
    landmarker: ModelName = Field(default="auto", description="Finds dense landmarks.")
    encoder: ModelName = Field(default="auto", description="Tells persons apart.")
    generator: ModelName = Field(default="mesh", description="Makes the new face.")
    pixel_boost: Annotated[int, *kinds.whole("N", 1, 8)] = Field(
        default=1, description="Generate at N times the model's own resolution."
    )
    domain: Annotated[str | None, *kinds.word("NAME", "one of the generator's domains")] = Field(
        default=None, description="Look that the face takes on, for generators that know several."
    )
    morph: OptionalShare = Field(
        default=None,
        description="How far the face goes to the generator's own person, where it can stop on the way. "
        "Default: all the way.",
    )
    direction: Annotated[Literal["a_to_b", "b_to_a"] | None, *kinds.one_of("a_to_b", "b_to_a")] = Field(
        default=None,
        description="Whose face becomes whose, for generators of one pair of persons. Default: a_to_b.",
    )
    enhancer: OptionalModelName = Field(
        default=None, description="Redraws the new face in finer detail. Default: none does."
    )
    enhancer_blend: Share = Field(
        default=0.8, description="Weight of the enhanced face against the generated one."
    )


class Blending(BaseModel):
    """Blending"""

    blend_mode: Annotated[
        Literal["alpha", "seamless", "pyramid"], *kinds.one_of("alpha", "seamless", "pyramid")
    ] = Field(default="alpha", description="How the new face is joined to the picture.")
    mask: Annotated[tuple[MaskKind, ...], *kinds.some_of("box", "hull", "occlusion", "region")] = Field(
        default=(),
        description="What is replaced: the crop's box, the landmarks' hull, what nothing is in front of, the "
        "face's regions, or where several agree. Default: what the generator says, else the box.",
    )
    mask_regions: Annotated[
        tuple[str, ...], *kinds.words("REGION,…", "regions separated by commas", r"[a-z][a-z0-9_]{0,31}")
    ] = Field(default=(), description="Regions that --mask region replaces. Default: the bare face.")
    occlusion_model: ModelName = Field(
        default="auto", description="Network behind --mask occlusion: sees what is in front of a face."
    )
    region_model: ModelName = Field(
        default="auto", description="Network behind --mask region: tells the parts of a face apart."
    )
    mask_feather: Share = Field(
        default=0.15, description="Width of the mask's soft edge, as a share of the crop's side."
    )
    mask_padding: Annotated[tuple[float, float, float, float], *kinds.sides(0.5)] = Field(
        default=(0.0, 0.0, 0.0, 0.0), description="What the box leaves out at each side, as a share of it."
    )


class Encoding(BaseModel):
    """Output video"""

    video_encoder: Annotated[
        Literal["auto", "h264", "hevc", "av1", "vp9", "h264_nvenc", "hevc_nvenc", "av1_nvenc"],
        *kinds.one_of("auto", "h264", "hevc", "av1", "vp9", "h264_nvenc", "hevc_nvenc", "av1_nvenc"),
    ] = Field(default="auto", description="auto takes the usual one of the output's container.")
    quality: Annotated[int | None, *kinds.whole("0..100", 0, 100)] = Field(
        default=None, description="Quality of the output. Default: hardly distinguishable from the target."
    )
    preset: Annotated[str | None, *kinds.word("NAME", "one of the encoder's presets")] = Field(
        default=None, description="Speed: ultrafast to veryslow, or the encoder's own."
    )


class Provenance(BaseModel):
    """Provenance"""

    provenance: Boolean = Field(
        default=True, description="Say in the output's metadata that faces in it were replaced."
    )
    c2pa_cert: OptionalPath = Field(
        default=None,
        description="Certificates (PEM) in whose name the output is signed with a C2PA manifest.",
    )
    c2pa_key: OptionalPath = Field(default=None, description="The private key (PEM) of the first of them.")
    visible_label: Annotated[str, *kinds.single(str, "TEXT")] = Field(
        default="", description="Text to show in the corner of every frame."
    )


class Policy(BaseModel):
    """Policy"""

    require_consent: Boolean = Field(
        default=False, description="Refuse a task that does not say that the persons shown agree."
    )
    consent: Boolean = Field(default=False, description="The persons shown agree.")
    audit_log: OptionalPath = Field(
        default=None, description="File to which every task adds a line; without it no task begins."
    )


class Running(BaseModel):
    """Running"""

    device: Annotated[
        str, *kinds.word("DEVICE", "auto, cpu, cuda or tensorrt, for one of several GPUs cuda:N", DEVICE)
    ] = Field(default="auto", description="Where networks run; auto falls back to the CPU and says so.")
    threads: Annotated[int, *kinds.whole("N", 0, 1024)] = Field(
        default=0, description="Threads for networks and codecs; 0 suits the machine."
    )
    batch_size: Annotated[int, *kinds.whole("N", 0, 256)] = Field(
        default=0, description="Most faces that go through a network together; 0 suits the device."
    )


class Messages(BaseModel):
    """Messages"""

    progress: Annotated[
        Literal["auto", "bar", "lines", "json", "none"],
        *kinds.one_of("auto", "bar", "lines", "json", "none"),
    ] = Field(default="auto", description="How progress is shown; auto is a bar on a terminal, else lines.")
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], *kinds.one_of("debug", "info", "warning", "error")
    ] = Field(default="warning", description="Least severe messages that are shown.")


class Cache(BaseModel):
    """Task cache"""

    auto_clear_cache: Boolean = Field(default=True, description="Delete task caches; false is for debugging.")
    cache_ttl_seconds: Seconds = Field(
        default=300.0, description="Age at which an orphaned or kept cache is deleted."
    )
    cache_root: Annotated[Path, *kinds.cache_root()] = Field(
        default=Path("/tmp/facefusion/cache"), description="Where task caches live."
    )
    cache_grace_seconds: Seconds = Field(
        default=2.0, description="Wait between the result being in place and deleting its cache."
    )
    cache_keep: Annotated[
        Literal["never", "on-failure", "always"], *kinds.one_of("never", "on-failure", "always")
    ] = Field(default="never", description="Keep a finished task's cache until its age is reached.")
    cache_artifacts: Annotated[
        tuple[Artifact, ...],
        *kinds.some_of("frames", "crops", "landmarks", "embeddings", "masks", "transforms", "swapped"),
    ] = Field(default=(), description="Intermediates to write for inspection.")
    cache_max_usage_percent: Annotated[float, *kinds.number("0..100", 0, 100)] = Field(
        default=80.0, description="Disk usage above which orphans go at once and the service takes no task."
    )
    cache_max_bytes: Annotated[int | None, *kinds.whole("BYTES", 0)] = Field(
        default=None, description="The same as an absolute limit for all task caches together."
    )
    cache_shared: Boolean = Field(default=False, description="Several hosts share this root.")
    sweep_schedule: Annotated[str, *kinds.single(str, "CRON")] = Field(
        default="0 * * * *", description="When the sweeper runs, as a cron expression."
    )
    sweep_state_root: Annotated[Path | None, *kinds.absolute_path()] = Field(
        default=None,
        description="Where the sweeper's state and metrics are, outside the cache. Default: the user's own.",
    )
    sweep_time_budget_seconds: Annotated[float, *kinds.number("SECONDS", 1, unit="seconds as a number")] = (
        Field(default=55.0, description="Longest time a sweep deletes; the next one goes on from there.")
    )


class Models(BaseModel):
    """Models"""

    model_root: Annotated[Path, *kinds.path()] = Field(
        default_factory=lambda: user_data_path("facefusion-runner") / "models",
        description="Where downloaded and imported weights live.",
    )
    model_licenses_accepted: Annotated[
        tuple[str, ...], *kinds.words("LICENCE,…", "licence ids separated by commas")
    ] = Field(default=(), description="Licences whose weights may be downloaded and used.")
    offline: Boolean = Field(default=False, description="Never open an outgoing connection.")


SECTIONS: Final = (
    *(Files, Stretch, Faces, Networks, Blending, Encoding, Provenance),
    *(Policy, Running, Messages, Cache, Models),
)
"""In the order of the help."""


class Service(BaseModel):
    """Service"""

    host: Annotated[str, *kinds.word("ADDRESS", "auto, a name or an address", r"[A-Za-z0-9.:_%-]{1,255}")] = (
        Field(
            default="auto",
            description="Address to listen on; auto is any where API keys are set, else this machine only.",
        )
    )
    port: Annotated[int, *kinds.whole("PORT", 0, 65535)] = Field(
        default=8000, description="0 takes a free one."
    )
    data_root: Annotated[Path, *kinds.path()] = Field(
        default_factory=lambda: user_data_path("facefusion-runner") / "service",
        description="Where tasks and results are kept; never inside CACHE_ROOT.",
    )
    workers: Annotated[int, *kinds.whole("N", 1, 64)] = Field(default=1, description="Tasks at a time.")
    queue_limit: Annotated[int, *kinds.whole("N", 1, 100_000)] = Field(
        default=100, description="Tasks that may wait; beyond it none is taken."
    )
    task_time_limit_seconds: Seconds = Field(
        default=21600.0, description="Longest time work on a task takes; 0: any."
    )
    result_ttl_seconds: Seconds = Field(default=86400.0, description="How long a task is kept after its end.")
    link_ttl_seconds: Seconds = Field(default=3600.0, description="How long a download link is good for.")
    public_url: Annotated[
        str | None, *kinds.word("URL", "http:// or https:// with a host", r"https?://[^\s/?#]+(/[^\s?#]*)?")
    ] = Field(default=None, description="What links begin with. Default: as the request came.")
    shutdown_grace_seconds: Seconds = Field(
        default=5.0,
        description="After SIGTERM tasks may run on so long; the next start goes on with the rest.",
    )
    log_format: Annotated[Literal["auto", "text", "json"], *kinds.one_of("auto", "text", "json")] = Field(
        default="auto", description="One JSON object a line, or text; auto is text on a terminal."
    )


class Limits(BaseModel):
    """What is taken"""

    max_upload_bytes: Annotated[int, *kinds.whole("BYTES", 1)] = Field(
        default=2_000_000_000, description="Of one request."
    )
    max_sources: Annotated[int, *kinds.whole("N", 1, 64)] = Field(default=8, description="Source pictures.")
    max_pixels: Annotated[int, *kinds.whole("N", 1)] = Field(
        default=52_000_000, description="Of a picture or of a frame."
    )
    max_duration_seconds: Seconds = Field(default=3600.0, description="Of the target.")


class Access(BaseModel):
    """Access"""

    api_keys: Annotated[
        tuple[str, ...],
        *kinds.words("NAME:SHA256,…", "NAME:SHA256, as `facefusion-runner keys new` prints it", API_KEY),
    ] = Field(default=(), description="Who may use the service. Default: everybody who can reach it.")
    api_keys_file: OptionalPath = Field(default=None, description="The same from a file, one a line.")
    webhook_secret: Annotated[
        str | None, *kinds.word("whsec_…", "whsec_ and Base64", r"whsec_[A-Za-z0-9+/=]{24,}")
    ] = Field(default=None, description="Signs webhooks (Standard Webhooks). Default: none are sent.")
    webhook_allow_private: Boolean = Field(
        default=False, description="Webhooks may go to private addresses, and without TLS."
    )


SERVICE_SECTIONS: Final = (
    *(Service, Limits, Access),
    *(section for section in SECTIONS if section is not Files),
)
"""Of `serve`; what concerns a single task is the default for tasks that do not say otherwise."""


class Settings(
    Files,
    Stretch,
    Faces,
    Networks,
    Blending,
    Encoding,
    Provenance,
    Policy,
    Running,
    Messages,
    Cache,
    Models,
    BaseSettings,
):
    """All settings of a task, checked.

    Takes the values it is given and reads nothing by itself; `facefusion_runner.loading.load_settings`
    is what reads flags, JSON and the environment. Raises `pydantic.ValidationError`.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=False)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)

    @model_validator(mode="after")
    def _values_fit_together(self) -> Self:
        # Names in braces are replaced by how the user wrote them.
        if self.trim_end == 0:
            raise ValueError("{trim_end} must be later than 0, else nothing is left")
        if self.trim_start is not None and self.trim_end is not None and self.trim_end <= self.trim_start:
            raise ValueError("{trim_end} must be later than {trim_start}")
        if self.select == "reference" and self.reference is None:
            raise ValueError("{select} reference needs {reference}, a picture of the person")
        for name in ("model_root", "audit_log"):
            path: Path | None = getattr(self, name)
            if path is not None and path.resolve().is_relative_to(self.cache_root.resolve()):
                raise ValueError(
                    f"{{{name}}} ({_literal(path)}) must not lie inside {{cache_root}} "
                    f"({_literal(self.cache_root)}), whose content is deleted"
                )
        return self


def _literal(path: Path) -> str:
    """A path for a message in which braces stand for names."""
    return str(path).replace("{", "{{").replace("}", "}}")


class ServiceSettings(Settings, Service, Limits, Access):
    """Those of the service, and what its tasks have in common."""

    @model_validator(mode="after")
    def _data_is_not_deleted(self) -> Self:
        if self.data_root.resolve().is_relative_to(self.cache_root.resolve()):
            data_root, cache_root = (_literal(path) for path in (self.data_root, self.cache_root))
            raise ValueError(
                f"{{data_root}} ({data_root}) must not lie inside {{cache_root}} ({cache_root}), "
                "whose content is deleted"
            )
        return self
