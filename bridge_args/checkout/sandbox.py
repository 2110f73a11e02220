"""A checkout's code runs here: without a network, without the user's variables, and where it can write one folder.

``python -I begin.py bridge_args.checkout.sandbox FOLDER SECONDS PACKAGE PROGRAM REQUEST ANSWERS``: the last four words
are those of ``child.py``, whose work is done inside. One line of JSON on standard output says what this system does not
give, ``{"missing": [...]}``, before anything of the checkout is imported.

Three processes: the first waits, and ends what is left behind; the second is the first of a name space of processes,
with which all others of it end; the third asks the checkout. What is used: name spaces (user, mount, network, process,
IPC), no new privileges and no capabilities, Landlock, a seccomp filter, limits of resources. See namespaces(7),
mount_setattr(2), capabilities(7), landlock(7), seccomp(2), setrlimit(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import struct
import sys
import warnings
from pathlib import Path
from typing import Any, Final

FILE_BYTES: Final = 1 << 28  # one file that the checkout writes
DATA_BYTES: Final = 1 << 34  # memory that one process takes; PyTorch alone reserves some of these gigabytes
PROCESSES: Final = 512

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (1 << 17, 1 << 26, 1 << 27, 1 << 28, 1 << 29, 1 << 30)
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _BIND, _REC, _PRIVATE = (1, 2, 4, 8, 1 << 12, 1 << 14, 1 << 18)
_MOUNT_SETATTR: Final = 442  # the same number on every machine
_NOBODY: Final = 65534
_WRITABLE: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class Refused(Exception):
    """The system does not give something."""


_libc: Any = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def main(words: list[str]) -> int:
    """See the module's text; returns the exit code."""
    folder, seconds, *question = words
    spaces = _name_spaces()
    says, hears = os.pipe()
    asked = os.fork()
    if asked == 0:
        os.close(says)
        os._exit(_first(folder, float(seconds), question, spaces, hears))
    os.close(hears)

    def end(number: int, frame: object) -> None:
        os.kill(asked, signal.SIGKILL)
        if not spaces:
            _sweep()
        os._exit(1)

    signal.signal(signal.SIGTERM, end)
    if not spaces:
        _prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: what the checkout leaves behind comes here
    _prctl(1, int(signal.SIGTERM))  # PR_SET_PDEATHSIG: there is something to end before this one does
    with os.fdopen(says) as told:
        sys.stdout.write(told.read())
        sys.stdout.flush()
    _, status = os.waitpid(asked, 0)
    if not spaces:
        _sweep()
    return os.waitstatus_to_exitcode(status) & 255


def _sweep() -> None:
    """Ends every process that is a child of this one, until there is none: theirs come to be ours."""
    while True:
        for entry in os.listdir("/proc") if os.path.isdir("/proc") else ():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if entry.isdigit():
                    parent = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1]
                    if int(parent) == os.getpid():
                        os.kill(int(entry), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _first(folder: str, seconds: float, question: list[str], spaces: bool, hears: int) -> int:
    """The first process of the name spaces, if there are any: prepares them, and ends when the third has ended."""
    missing = _prepared(folder) if spaces else ["name spaces"]
    asking = os.fork()
    if asking == 0:
        missing += _confined(folder, seconds, spaces)
        with os.fdopen(hears, "w") as told:
            told.write(json.dumps({"missing": missing}) + "\n")
        os._exit(_asked(question))
    os.close(hears)
    while True:
        ended, status = os.wait()
        if ended == asking:
            return os.waitstatus_to_exitcode(status) & 255


def _asked(question: list[str]) -> int:
    import traceback

    from bridge_args.checkout import child

    warnings.simplefilter("ignore")
    sys.dont_write_bytecode = True
    try:
        child.main(question)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


# Name spaces ----------------------------------------------------------------------------------------------------------


def _name_spaces() -> bool:
    """Does this process have name spaces of its own from now on, but that of processes, which its children have?"""
    if _libc is None:
        return False
    user, group = os.geteuid(), os.getegid()
    if _libc.unshare(_NEWUSER | _NEWNS | _NEWPID | _NEWNET | _NEWIPC | _NEWUTS) != 0:
        return False
    # Inside, nobody is root: a program that is started would have all capabilities again.
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{user or _NOBODY} {user} 1")
    Path("/proc/self/gid_map").write_text(f"{group or _NOBODY} {group} 1")
    return True


def _prepared(folder: str) -> list[str]:
    """Nothing but the folder can be written to, and processes outside are not seen; returns what did not work."""
    missing = []
    try:
        _mount("none", "/", "", _REC | _PRIVATE)
        _mount(folder, folder, "", _BIND)
        _set_read_only("/", recursive=True)
        _set_read_only(folder, recursive=False, off=True)
        os.chdir(folder)  # as it is mounted now
    except Refused:
        missing.append("files")
    for place, kind, options in (("/proc", "proc", ""), ("/dev/shm", "tmpfs", "size=256m,mode=1777")):
        try:
            _mount(kind, place, kind, _NOSUID | _NODEV | _NOEXEC, options)
        except Refused:
            missing.append(place)
    with contextlib.suppress(OSError):
        _bring_up_loopback()
    return missing


def _mount(source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    words = [word.encode() or None for word in (source, target, kind)]
    if _libc.mount(*words, ctypes.c_ulong(flags), options.encode() or None) != 0:
        raise Refused(target)


def _set_read_only(place: str, *, recursive: bool, off: bool = False) -> None:
    """See mount_setattr(2); ``off``: it can be written to again."""
    attributes = struct.pack("QQQQ", 0 if off else _RDONLY, _RDONLY if off else 0, 0, 0)
    flags = 0x8000 if recursive else 0  # AT_RECURSIVE
    if _libc.syscall(_MOUNT_SETATTR, -100, place.encode(), flags, attributes, len(attributes)) != 0:
        raise Refused(place)


def _bring_up_loopback() -> None:
    """A process may speak with itself; there is nobody else on this network."""
    import fcntl
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        fcntl.ioctl(probe, 0x8914, struct.pack("16sH22x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP


# One process ----------------------------------------------------------------------------------------------------------


def _confined(folder: str, seconds: float, spaces: bool) -> list[str]:
    """This process, and all that come from it, give up what they do not need; returns what did not work."""
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, FILE_BYTES)
    _limit(resource.RLIMIT_CPU, int(seconds) + 1)
    _limit(resource.RLIMIT_DATA, DATA_BYTES)
    if spaces:
        _limit(resource.RLIMIT_NPROC, PROCESSES)
    if _libc is None:
        return ["Landlock", "seccomp"]
    missing = []
    for capability in range(64):
        _prctl(24, capability)  # PR_CAPBSET_DROP
    _libc.capset(struct.pack("II", 0x20080522, 0), bytes(24))
    _prctl(38, 1)  # PR_SET_NO_NEW_PRIVS
    for name, confine in (("Landlock", _landlock), ("seccomp", _seccomp)):
        try:
            confine(folder, spaces)
        except Refused:
            missing.append(name)
    return missing


def _limit(kind: int, value: int) -> None:
    _, most = resource.getrlimit(kind)
    if most != resource.RLIM_INFINITY:
        value = min(value, most)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(kind, (value, value))


def _prctl(what: int, value: int) -> None:
    if _libc is not None:
        _libc.prctl(what, ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))


# Every way to change the file system: write, remove, make, move, cut.
_CHANGES: Final = 1 << 1 | sum(1 << bit for bit in range(4, 13))
_MOVES, _CUTS = 1 << 13, 1 << 14


def _landlock(folder: str, spaces: bool) -> None:
    """Only the folder can be written to, and processes outside cannot be looked into or sent signals."""
    create, add, restrict = 444, 445, 446
    version = _libc.syscall(create, None, ctypes.c_size_t(0), 1)
    if version < 1:
        raise Refused("landlock")
    files = _CHANGES | (_MOVES if version >= 2 else 0) | (_CUTS if version >= 3 else 0)
    network = 0 if spaces else 3
    attributes = struct.pack("QQQ", files, network, 3)[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = _libc.syscall(create, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        raise Refused("landlock")
    places = [(folder, files), *((place, files & (1 << 1 | _CUTS)) for place in _WRITABLE)]
    if spaces:
        places.append(("/dev/shm", files))
    for place, allowed in places:
        with contextlib.suppress(OSError):
            opened = os.open(place, os.O_PATH | os.O_CLOEXEC)
            _libc.syscall(add, rules, 1, struct.pack("=Qi", allowed, opened), 0)
            os.close(opened)
    done = _libc.syscall(restrict, rules, 0)
    os.close(rules)
    if done != 0:
        raise Refused("landlock")


class _Machine:
    """Numbers of system calls (``asm/unistd.h``) of one kind of machine."""

    def __init__(self, architecture: int, socket: int, never: tuple[int, ...]) -> None:
        self.architecture = architecture
        self.socket = socket
        # ptrace, process_vm_readv and _writev, add_key, request_key, keyctl, bpf, perf_event_open, userfaultfd, setns,
        # open_by_handle_at; and the same everywhere: io_uring_setup, _enter, _register, pidfd_getfd
        self.never = (*never, 425, 426, 427, 438)


_MACHINES: Final = {
    "x86_64": _Machine(0xC000003E, 41, (101, 310, 311, 248, 249, 250, 321, 298, 323, 308, 304)),
    "aarch64": _Machine(0xC00000B7, 198, (117, 270, 271, 217, 218, 219, 280, 241, 282, 268, 265)),
}
_ALONE: Final = (2, 10, 16)  # AF_INET, AF_INET6, AF_NETLINK: of a network name space in which there is nobody else


def _seccomp(folder: str, spaces: bool) -> None:
    """No socket leads out: not to the network, not to a daemon that listens in a file, not to the machine outside."""
    machine = _MACHINES.get(os.uname().machine)
    if machine is None:
        raise Refused("seccomp")
    program = _filter(machine, _ALONE if spaces else ())
    code = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
    if _libc.prctl(22, ctypes.c_ulong(2), head, ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:  # PR_SET_SECCOMP, filter
        raise Refused("seccomp")


def _filter(machine: _Machine, families: tuple[int, ...]) -> bytes:
    """Instructions of classic BPF, over ``struct seccomp_data``: number at 0, architecture at 4, first word at 16."""
    load, equal, above, end = 0x20, 0x15, 0x35, 0x06
    allow, refuse, kill = 0x7FFF0000, 0x00050000 | 13, 0x80000000  # 13: EACCES
    made: list[tuple[int, int, int, int]] = [
        (load, 0, 0, 4),
        (equal, 1, 0, machine.architecture),
        (end, 0, 0, kill),
        (load, 0, 0, 0),
        (above, 0, 1, 0x40000000),  # x32, whose numbers are others
        (end, 0, 0, kill),
    ]
    for number in machine.never:
        made += [(equal, 0, 1, number), (end, 0, 0, refuse)]
    made += [(equal, 1, 0, machine.socket), (end, 0, 0, allow), (load, 0, 0, 16)]
    for family in families:
        made += [(equal, 0, 1, family), (end, 0, 0, allow)]
    made.append((end, 0, 0, refuse))
    return b"".join(struct.pack("HBBI", *one) for one in made)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
