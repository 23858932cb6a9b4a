"""For every setting a value that is accepted, what it becomes, and a value that is refused."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple


class Example(NamedTuple):
    text: str
    value: Any
    refused: str
    allowed: str
    """Part of the message that says what is allowed."""


EXAMPLES = {
    "source": Example("a b.jpg", (Path("a b.jpg"),), "a\nb.jpg", "line break"),
    "target": Example(" clip.mp4", Path(" clip.mp4"), "clip\n.mp4", "line break"),
    "output": Example("äö.mp4", Path("äö.mp4"), "a\rb", "line break"),
    "overwrite": Example("Yes", True, "maybe", "1/true/yes/on/y/t or 0/false/no/off/n/f"),
    "task_id": Example("my_task-1", "my_task-1", "../x", "1 to 64 of A-Z a-z 0-9 _ -"),
    "trim_start": Example("1:02.5", Fraction(125, 2), "1:99", "HH:MM:SS"),
    "trim_end": Example("1:00:00", Fraction(3600), "-1", "HH:MM:SS"),
    "fps": Example("30000/1001", Fraction(30000, 1001), "1/0", "above 0 up to 1000"),
    "select": Example("2, 0", (2, 0), "first", "all, largest, reference"),
    "reference": Example("her.png", Path("her.png"), "a\nb", "line break"),
    "reference_distance": Example("0.4", 0.4, "2.1", "from 0 to 2"),
    "require_face": Example("on", True, "2", "1/true/yes"),
    "detector": Example("yunet", "yunet", "a b", "a model's id or a family"),
    "detect_size": Example("320", 320, "63", "from 64 to 4096"),
    "detect_score": Example(".25", 0.25, "1.01", "from 0 to 1"),
    "detect_nms": Example("1", 1.0, "nan", "from 0 to 1"),
    "detect_every": Example("5", 5, "0", "from 1 to 1000"),
    "landmarker": Example("2d106det", "2d106det", "/etc", "a model's id or a family"),
    "encoder": Example("arcface", "arcface", "a;b", "a model's id or a family"),
    "generator": Example("inswapper_128", "inswapper_128", "-x", "a model's id or a family"),
    "pixel_boost": Example("4", 4, "2.0", "from 1 to 8"),
    "domain": Example("female", "female", "a b", "one of the generator's domains"),
    "morph": Example("0.5", 0.5, "1.5", "from 0 to 1"),
    "direction": Example("B_to_A", "b_to_a", "both", "a_to_b, b_to_a"),
    "enhancer": Example("gfpgan", "gfpgan", "a b", "a model's id or a family"),
    "enhancer_blend": Example("0.3", 0.3, "2", "from 0 to 1"),
    "blend_mode": Example("Seamless", "seamless", "poisson", "alpha, seamless, pyramid"),
    "mask": Example("hull,box,", ("hull", "box"), "box,oval", "box, hull, occlusion, region"),
    "mask_regions": Example("skin, nose", ("skin", "nose"), "skin,No", "regions separated by commas"),
    "occlusion_model": Example("xseg_3", "xseg_3", "a b", "a model's id or a family"),
    "region_model": Example("region", "region", "/x", "a model's id or a family"),
    "mask_feather": Example("0.2", 0.2, "-0.1", "from 0 to 1"),
    "mask_padding": Example("0.1,0.2", (0.1, 0.2, 0.1, 0.2), "0.1,0.2,0.3", "1, 2 or 4 numbers"),
    "video_encoder": Example("AV1", "av1", "libx265", "auto, h264, hevc, av1, vp9"),
    "quality": Example("100", 100, "101", "from 0 to 100"),
    "preset": Example("slow", "slow", "slow;", "presets"),
    "provenance": Example("no", False, "maybe", "1/true/yes"),
    "c2pa_cert": Example("me.pem", Path("me.pem"), "a\nb", "line break"),
    "c2pa_key": Example("key.pem", Path("key.pem"), "a\nb", "line break"),
    "visible_label": Example("made by AI", "made by AI", "a\nb", "line break"),
    "require_consent": Example("1", True, "please", "1/true/yes"),
    "consent": Example("yes", True, "agreed", "1/true/yes"),
    "audit_log": Example("/var/log/ff.jsonl", Path("/var/log/ff.jsonl"), "a\nb", "line break"),
    "device": Example("cuda:1", "cuda:1", "gpu", "auto, cpu, cuda or tensorrt"),
    "threads": Example("0", 0, "-1", "from 0 to 1024"),
    "batch_size": Example("8", 8, "many", "from 0 to 256"),
    "progress": Example("JSON", "json", "dots", "auto, bar, lines, json, none"),
    "log_level": Example("debug", "debug", "loud", "debug, info, warning, error"),
    "auto_clear_cache": Example("oFF", False, "disabled", "1/true/yes/on/y/t or 0/false/no/off/n/f"),
    "cache_ttl_seconds": Example(" 1.5e2 ", 150.0, "5m", "seconds as a number of at least 0"),
    "cache_root": Example("/data/ff", Path("/data/ff"), "cache", "an absolute path"),
    "cache_grace_seconds": Example("0", 0.0, "inf", "seconds as a number of at least 0"),
    "cache_keep": Example("on-failure", "on-failure", "yes", "never, on-failure, always"),
    "cache_artifacts": Example("frames, masks", ("frames", "masks"), "frames,faces", "frames, crops"),
    "cache_max_usage_percent": Example("75.5", 75.5, "80%", "from 0 to 100"),
    "cache_max_bytes": Example("1000000000", 10**9, "1G", "a whole number of at least 0"),
    "cache_shared": Example("T", True, "nfs", "1/true/yes"),
    "sweep_schedule": Example("*/5 * * * *", "*/5 * * * *", "* * * * *\nroot rm", "line break"),
    "sweep_state_root": Example("/var/lib/s", Path("/var/lib/s"), "~/state", "an absolute path"),
    "sweep_time_budget_seconds": Example("20", 20.0, "0.5", "seconds as a number of at least 1"),
    "model_root": Example("/m", Path("/m"), "/m\n", "line break"),
    "model_licenses_accepted": Example("mit,bsd-3", ("mit", "bsd-3"), "mit,b d", "licence ids"),
    "offline": Example("1", True, "online", "1/true/yes"),
}

SERVICE_EXAMPLES = {
    "host": Example("::1", "::1", "a b", "auto, a name or an address"),
    "port": Example("0", 0, "65536", "from 0 to 65535"),
    "data_root": Example("/data/ff", Path("/data/ff"), "/d\n", "line break"),
    "workers": Example("4", 4, "0", "from 1 to 64"),
    "queue_limit": Example("10", 10, "none", "from 1 to 100000"),
    "task_time_limit_seconds": Example("0", 0.0, "1h", "seconds as a number"),
    "result_ttl_seconds": Example("3600", 3600.0, "-1", "seconds as a number"),
    "link_ttl_seconds": Example("60", 60.0, "1m", "seconds as a number"),
    "public_url": Example("https://a.b/c", "https://a.b/c", "ftp://a", "http:// or https://"),
    "shutdown_grace_seconds": Example("25", 25.0, "soon", "seconds as a number"),
    "log_format": Example("JSON", "json", "xml", "auto, text, json"),
    "max_upload_bytes": Example("1000", 1000, "1G", "a whole number"),
    "max_sources": Example("2", 2, "65", "from 1 to 64"),
    "max_pixels": Example("1000000", 1_000_000, "0", "a whole number of at least 1"),
    "max_duration_seconds": Example("60", 60.0, "1:00", "seconds as a number"),
    "api_keys": Example(f"a:{'0' * 64}", (f"a:{'0' * 64}",), "a:1234", "NAME:SHA256"),
    "api_keys_file": Example("keys.txt", Path("keys.txt"), "a\nb", "line break"),
    "webhook_secret": Example("whsec_" + "A" * 32, "whsec_" + "A" * 32, "secret", "whsec_ and Base64"),
    "webhook_allow_private": Example("yes", True, "maybe", "1/true/yes"),
}
"""Of the service, besides."""
