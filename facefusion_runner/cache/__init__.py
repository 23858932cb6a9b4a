"""One task's files under CACHE_ROOT: held by a lease, removed at the task's end.

Nothing in this package imports a third-party package: the sweeper shares it and must start at once.
"""
