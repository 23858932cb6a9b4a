"""Deletes the task caches nobody holds any more: `python -m sweeper`, run by a schedule.

Standard library and `facefusion_runner.cache` only, so that a sweep starts at once beside a job.
"""
