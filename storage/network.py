"""Network file systems, on which SQLite's WAL and file locks do not hold."""

from __future__ import annotations

import os
from pathlib import Path

from yusa.errors import StorageError

_MOUNTS = Path("/proc/mounts")
# 9p is left out: it is also how virtual machines and containers share a local disk.
_NETWORK_TYPES = frozenset({
    "afs", "beegfs", "ceph", "cifs", "coda", "davfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "ocfs2",
    "orangefs", "smb3", "smbfs", "fuse.ceph", "fuse.davfs2", "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs",
    "fuse.rclone", "fuse.s3fs", "fuse.sshfs",
})  # fmt: skip


def refuse_network(path: Path) -> None:
    """Raise StorageError if `path` lies on a network file system.

    Only Linux tells (through /proc/mounts); elsewhere nothing is refused. A path that is not there yet is judged by its
    nearest parent.
    """
    kind = _file_system(Path(os.path.realpath(path)))
    if kind in _NETWORK_TYPES:
        raise StorageError(
            f"{path} lies on a network file system ({kind}), where locks and shared memory cannot be trusted. "
            "Put the index on a local disk; a backup may lie anywhere."
        )


def _file_system(path: Path) -> str | None:
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    best: tuple[int, str] | None = None
    for line in lines:
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        mount = Path(_unescape(fields[1]))
        # Of two mounts on one place the later lies on top.
        if path.is_relative_to(mount) and (best is None or len(mount.parts) >= best[0]):
            best = (len(mount.parts), fields[2])
    return best[1] if best else None


def _unescape(mount: str) -> str:
    for escaped, plain in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        mount = mount.replace(escaped, plain)
    return mount
