"""Memory does not grow with the length of the film, and threads end with the reader and writer."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

from facefusion_runner.media.probe import probe
from facefusion_runner.media.reader import VideoReader
from facefusion_runner.media.writer import VideoWriter
from tests.support import clips
from tests.support.clips import Sound, make_clip

PROGRAM = """
import resource, sys
from pathlib import Path
from facefusion_runner.media.probe import probe
from facefusion_runner.media.reader import VideoReader
from facefusion_runner.media.writer import VideoWriter
clip, output = Path(sys.argv[1]), Path(sys.argv[2])
info = probe(clip)
with VideoReader(clip, info, threads=2) as reader, VideoWriter(
    output, info, preset="ultrafast", threads=2
) as writer:
    for frame in reader:
        frame.paste(0, 0, 255 - frame.bgr[:40, :40])
        writer.write(frame)
    writer.commit()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_kilobytes(clip: Path, output: Path) -> int:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(clip), str(output)],
        cwd=root,
        check=True,
        capture_output=True,
        text=True,
    )
    return int(done.stdout)


def test_peak_memory_does_not_grow_with_the_length(tmp_path: Path) -> None:
    peaks = []
    for seconds in (4, 32):
        name = f"{seconds}.mkv"
        clip = make_clip(
            tmp_path / name,
            size=(480, 270),
            at=clips.times(seconds * 12),
            sounds=[Sound(seconds, "pcm_s16le")],
        )
        peaks.append(peak_kilobytes(clip, tmp_path / f"out-{name}"))
    assert peaks[1] < peaks[0] * 1.1


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_files_and_threads_end_with_reader_and_writer(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "in.mp4", sounds=[Sound(1)])
    info = probe(clip)

    def run(frames: int) -> None:
        with VideoReader(clip, info) as reader, VideoWriter(tmp_path / "out.mp4", info) as writer:
            for frame in reader:
                if frame.index == frames:
                    return
                writer.write(frame)
            writer.commit()

    run(12)
    files, tasks = open_files(), len(list(Path("/proc/self/task").iterdir()))
    for _ in range(3):
        run(5)
        run(12)
    assert open_files() == files
    assert len(list(Path("/proc/self/task").iterdir())) <= tasks
    assert threading.active_count() == 1
