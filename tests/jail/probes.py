"""A hostile process: goes into the jail, tries to get out in every way here, and tells by a pipe what came back.

``probes.py PLAN REPORT``: the plan is JSON in a file, the report a descriptor. A probe that returns got through; one
that raises OSError was refused.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import platform
import resource
import signal
import socket
import struct
import sys
import threading
from pathlib import Path

import numpy as np

import modelwright
from modelwright.jail import Confinement, enter, landlock, tie_to_parent
from modelwright.jail.calls import DENIED, JUDGED, MEMORY_FILES, number

LIBC = ctypes.CDLL(None, use_errno=True)
MACHINE = platform.machine()
PROBES = {}
READING, HARMLESS = set(), set()
AT_FDCWD = -100


def probe(name, *, strict_only=False, harmless=True):
    def register(function):
        PROBES[name] = function
        if strict_only:
            READING.add(name)
        if harmless:
            HARMLESS.add(name)
        return function

    return register


def call(name, *arguments):
    found = number(name, MACHINE) if name in DENIED | MEMORY_FILES | JUDGED else None
    if found is None:
        raise OSError(errno.ENOSYS, f"no {name} here")
    return raw(found, *arguments)


def raw(found, *arguments):
    converted = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = LIBC.syscall(ctypes.c_long(found), *converted)
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def opened(path, flags=os.O_RDONLY):
    os.close(os.open(path, flags, 0o600))


# Files of others: reading


@probe("read a file in the home", strict_only=True)
def _(w):
    opened(w["home_file"])


@probe("read a file in the data directory", strict_only=True)
def _(w):
    opened(w["data_file"])


@probe("list the home", strict_only=True)
def _(w):
    os.listdir(w["home"])


@probe("list the temporary directory", strict_only=True)
def _(w):
    os.listdir(w["base"])


@probe("read /etc/passwd", strict_only=True)
def _(w):
    opened("/etc/passwd")


@probe("read /etc/shadow", strict_only=True)
def _(w):
    opened("/etc/shadow")


@probe("read the host's name from /etc", strict_only=True)
def _(w):
    opened("/etc/hostname")


@probe("read the root user's home", strict_only=True)
def _(w):
    os.listdir("/root")


@probe("read through a relative path", strict_only=True)
def _(w):
    opened(os.path.relpath(w["home_file"]))


@probe("read through /proc/self/root", strict_only=True)
def _(w):
    opened("/proc/self/root" + w["home_file"])


@probe("read through /proc/self/cwd", strict_only=True)
def _(w):
    opened("/proc/self/cwd/" + os.path.relpath(w["home_file"]))


@probe("map the home's file", strict_only=True)
def _(w):
    with open(w["home_file"], "rb") as file:
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ).close()


# Files of others: writing


@probe("overwrite a file")
def _(w):
    opened(w["data_file"], os.O_WRONLY)


@probe("append to a file")
def _(w):
    opened(w["data_file"], os.O_WRONLY | os.O_APPEND)


@probe("empty a file that is opened for reading", harmless=False)
def _(w):
    opened(w["data_file"], os.O_RDONLY | os.O_TRUNC)


@probe("truncate a file", harmless=False)
def _(w):
    os.truncate(w["data_file"], 0)


@probe("truncate a file by openat2", harmless=False)
def _(w):
    how = struct.pack("<QQQ", os.O_RDONLY | os.O_TRUNC, 0, 0)
    os.close(raw(437, AT_FDCWD, w["data_file"].encode(), how, 24))


@probe("create a file in the home")
def _(w):
    path = os.path.join(w["home"], "made")
    opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.unlink(path)


@probe("create a file in the temporary directory")
def _(w):
    path = f"{w['base']}/made"
    opened(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.unlink(path)


@probe("make a file without a name", harmless=False)
def _(w):
    opened(w["data"], os.O_TMPFILE | os.O_RDWR)


@probe("remove a file", harmless=False)
def _(w):
    os.unlink(w["data_file"])


@probe("remove a directory", harmless=False)
def _(w):
    os.rmdir(w["empty"])


@probe("rename a file", harmless=False)
def _(w):
    os.rename(w["data_file"], w["data_file"] + "2")


@probe("move a file into scratch", harmless=False)
def _(w):
    os.rename(w["data_file"], "moved")


@probe("move a file of ours out", harmless=False)
def _(w):
    Path("ours").write_bytes(b"x")
    os.rename("ours", w["data_file"])


@probe("link a file into scratch", harmless=False)
def _(w):
    os.link(w["data_file"], "linked")


@probe("link a file of ours to the outside", harmless=False)
def _(w):
    Path("ours2").write_bytes(b"x")
    os.link("ours2", w["data"] + "/linked")


@probe("leave a symbolic link for whoever cleans up")
def _(w):
    os.symlink(w["home"], "link-to-home")


@probe("leave a pipe for whoever reads")
def _(w):
    os.mkfifo("pipe")


@probe("make a device", harmless=False)
def _(w):
    os.mknod("device", 0o600 | 0o060000, os.makedev(7, 0))


@probe("read what is typed into a terminal", harmless=False)
def _(w):
    opened(w["terminal_path"])


@probe("read a disk", harmless=False)
def _(w):
    disks = [path for path in Path("/dev").iterdir() if path.is_block_device()]
    opened(disks[0])


@probe("open the terminal it was started from", harmless=False)
def _(w):
    opened("/dev/tty", os.O_RDWR)


@probe("open a block device")
def _(w):
    disks = [path for path in Path("/dev").iterdir() if path.is_block_device()] if os.access("/dev", os.R_OK) else []
    if not disks:
        raise OSError(errno.ENOENT, "no disk to be seen")
    opened(disks[0], os.O_RDWR)


@probe("change a mode", harmless=False)
def _(w):
    os.chmod(w["data_file"], 0o777)


@probe("change a mode by fchmodat2", harmless=False)
def _(w):
    call("fchmodat2", AT_FDCWD, w["data_file"].encode(), 0o777, 0)


@probe("change a mode of a descriptor", harmless=False)
def _(w):
    os.fchmod(w["kept_read"], 0o777)


@probe("change an owner", harmless=False)
def _(w):
    os.chown(w["data_file"], 12345, -1)


@probe("change times", harmless=False)
def _(w):
    os.utime(w["data_file"], (1, 1))


@probe("set an attribute", harmless=False)
def _(w):
    os.setxattr(w["data_file"], "user.x", b"1")


@probe("set attributes by the newest call", harmless=False)
def _(w):
    call("file_setattr", AT_FDCWD, w["data_file"].encode(), bytes(24), 24, 0)


@probe("write into site-packages")
def _(w):
    opened(np.__file__, os.O_WRONLY)


@probe("create a file in site-packages", harmless=False)
def _(w):
    opened(Path(np.__file__).parent / "evil.pth", os.O_WRONLY | os.O_CREAT | os.O_EXCL)


@probe("write into the code of this package")
def _(w):
    opened(modelwright.__file__, os.O_WRONLY)


@probe("write into the code cache")
def _(w):
    opened(Path(modelwright.__file__).parent / "evil.pyc", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.unlink(Path(modelwright.__file__).parent / "evil.pyc")


@probe("write into the standard library")
def _(w):
    opened(os.__file__, os.O_WRONLY)


@probe("leave a file in /dev/shm")
def _(w):
    opened(f"/dev/shm/modelwright-probe-{w['parent']}", os.O_WRONLY | os.O_CREAT)
    os.unlink(f"/dev/shm/modelwright-probe-{w['parent']}")


@probe("leave a library to be loaded before all others", harmless=False)
def _(w):
    opened("/etc/ld.so.preload", os.O_WRONLY | os.O_CREAT)


@probe("write a setting of the kernel")
def _(w):
    opened("/proc/sys/kernel/core_pattern", os.O_WRONLY)


@probe("make the killer of memory hogs look elsewhere")
def _(w):
    opened("/proc/self/oom_score_adj", os.O_WRONLY)


@probe("write to a control group")
def _(w):
    places = [*Path("/sys/fs/cgroup").glob("cgroup.procs"), *Path("/sys/fs/cgroup").glob("*/cgroup.procs")]
    if not places:
        raise OSError(errno.ENOENT, "no control group to be seen")
    opened(places[0], os.O_WRONLY)


@probe("watch the files of others", harmless=True)
def _(w):
    watch = call("inotify_init1", 0)
    call("inotify_add_watch", watch, w["home"].encode(), 2)


@probe("open a file by its handle", harmless=True)
def _(w):
    handle = struct.pack("<Ii", 128, 0) + bytes(128)
    call("name_to_handle_at", AT_FDCWD, w["home_file"].encode(), handle, bytes(4), 0)


@probe("lock a file of others for good", harmless=False)
def _(w):
    with open(w["data_file"], "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@probe("hold off the writer of a database", harmless=False)
def _(w):
    with open(w["data_file"], "rb") as file:
        fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)


@probe("hold off the writer of a database by the newer locks", harmless=False)
def _(w):
    with open(w["data_file"], "rb") as file:
        fcntl.fcntl(file, 37, struct.pack("hhqqi", 0, 0, 0, 0, 0) + bytes(8))


# Other processes


@probe("read another's environment")
def _(w):
    opened(f"/proc/{w['neighbour']}/environ")


@probe("read another's command line")
def _(w):
    opened(f"/proc/{w['neighbour']}/cmdline")


@probe("open another's memory")
def _(w):
    opened(f"/proc/{w['neighbour']}/mem", os.O_RDWR)


@probe("list processes")
def _(w):
    os.listdir("/proc")


@probe("see the parent's descriptors")
def _(w):
    os.listdir(f"/proc/{w['parent']}/fd")


@probe("trace a neighbour", harmless=False)
def _(w):
    call("ptrace", 16, w["neighbour"], 0, 0)


@probe("read a neighbour's memory by process_vm_readv")
def _(w):
    local, remote = (ctypes.c_char * 8)(), struct.pack("<QQ", w["address"], 8)
    vector = struct.pack("<QQ", ctypes.addressof(local), 8)
    call("process_vm_readv", w["parent"], vector, 1, remote, 1, 0)


@probe("write a neighbour's memory by process_vm_writev", harmless=False)
def _(w):
    local = ctypes.create_string_buffer(b"EVIL", 8)
    vector = struct.pack("<QQ", ctypes.addressof(local), 4)
    call("process_vm_writev", w["parent"], vector, 1, struct.pack("<QQ", w["address"], 4), 1, 0)


@probe("signal a neighbour by kill", harmless=False)
def _(w):
    os.kill(w["neighbour"], signal.SIGTERM)


@probe("signal everyone", harmless=False)
def _(w):
    os.kill(-1, 0)


@probe("signal a neighbour by tgkill", harmless=False)
def _(w):
    call("tgkill", w["neighbour"], w["neighbour"], signal.SIGTERM)


@probe("signal a neighbour by tkill", harmless=False)
def _(w):
    call("tkill", w["neighbour"], signal.SIGTERM)


@probe("queue a signal", harmless=False)
def _(w):
    call("rt_sigqueueinfo", w["neighbour"], signal.SIGTERM, struct.pack("iii", 0, 0, -1) + bytes(116))


@probe("signal through a descriptor of a process", harmless=False)
def _(w):
    call("pidfd_send_signal", call("pidfd_open", w["neighbour"], 0), signal.SIGTERM, None, 0)


@probe("make a pipe signal a neighbour", harmless=False)
def _(w):
    fcntl.fcntl(os.pipe()[0], fcntl.F_SETOWN, w["neighbour"])


@probe("make a pipe signal a neighbour, the longer way", harmless=False)
def _(w):
    fcntl.fcntl(os.pipe()[0], 15, struct.pack("ii", 1, w["neighbour"]))


@probe("own a descriptor by ioctl", harmless=False)
def _(w):
    fcntl.ioctl(os.pipe()[0], 0x8901, struct.pack("i", w["neighbour"]))


@probe("take a neighbour's descriptor", harmless=False)
def _(w):
    call("pidfd_getfd", call("pidfd_open", w["neighbour"], 0), 1, 0)


@probe("change a neighbour's limits", harmless=False)
def _(w):
    call("prlimit64", w["neighbour"], 7, struct.pack("<QQ", 3, 3), None)


@probe("push a neighbour to one processor", harmless=False)
def _(w):
    os.sched_setaffinity(w["neighbour"], {0})


@probe("change how a neighbour is scheduled", harmless=False)
def _(w):
    os.sched_setscheduler(w["neighbour"], os.SCHED_BATCH, os.sched_param(0))


@probe("make a neighbour slow", harmless=False)
def _(w):
    os.setpriority(os.PRIO_PROCESS, w["neighbour"], 19)


@probe("make all of a user's processes slow", harmless=False)
def _(w):
    os.setpriority(os.PRIO_USER, 0, 19)


@probe("compare a neighbour's descriptors", harmless=True)
def _(w):
    call("kcmp", os.getpid(), w["parent"], 0, 0, 0)


@probe("advise a neighbour's memory away", harmless=False)
def _(w):
    call("process_madvise", call("pidfd_open", w["neighbour"], 0), bytes(16), 0, 20, 0)


# The network and sockets


@probe("an inet socket")
def _(w):
    with socket.socket() as ours:
        ours.connect(("127.0.0.1", w["port"]))


@probe("an inet6 socket")
def _(w):
    socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()


@probe("a unix socket with a path")
def _(w):
    with socket.socket(socket.AF_UNIX) as ours:
        ours.connect(w["unix"])


@probe("an abstract unix socket")
def _(w):
    with socket.socket(socket.AF_UNIX) as ours:
        ours.connect(b"\0" + w["abstract"].encode())


@probe("a netlink socket")
def _(w):
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()


@probe("a packet socket")
def _(w):
    socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0).close()


@probe("a socket of the kernel's ciphers")
def _(w):
    socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET, 0).close()


@probe("a socket to the virtual machine's host")
def _(w):
    socket.socket(40, socket.SOCK_STREAM).close()


@probe("datagrams by way of a pair of sockets")
def _(w):
    for ours in socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM):
        ours.close()


@probe("connect a pair of sockets elsewhere")
def _(w):
    ours, _ = socket.socketpair()
    ours.connect(w["unix"])


@probe("listen on a kept socket", harmless=False)
def _(w):
    with socket.socket(fileno=os.dup(w["kept_socket"])) as ours:
        ours.bind(b"\0modelwright-probe-listener")


@probe("a device that makes networks")
def _(w):
    opened("/dev/net/tun", os.O_RDWR)


# Programs and processes


@probe("run a program", harmless=False)
def _(w):
    os.execv("/bin/true", ["true"])


@probe("run a program by a shell")
def _(w):
    if os.system(":") != 0:
        raise OSError(errno.EPERM, "no shell")


@probe("run a program from memory", harmless=False)
def _(w):
    call("execveat", os.memfd_create("program"), b"", struct.pack("<QQ", 0, 0), struct.pack("<Q", 0), 0x1000)


@probe("run a program by its descriptor", harmless=False)
def _(w):
    os.execve(os.open("/bin/true", os.O_RDONLY), ["true"], {})


@probe("run a program by posix_spawn")
def _(w):
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


@probe("run a program with a library of ours", harmless=True)
def _(w):
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {"LD_PRELOAD": "evil.so"}), 0)


def _child(process):
    if process == 0:
        os._exit(0)
    os.waitpid(process, 0)


@probe("fork")
def _(w):
    _child(os.fork())


@probe("fork by the bare call")
def _(w):
    _child(call("fork"))


@probe("vfork by the bare call", harmless=False)
def _(w):
    _child(call("vfork"))


@probe("clone a process")
def _(w):
    _child(call("clone", signal.SIGCHLD, 0, 0, 0, 0))


@probe("clone a process by clone3")
def _(w):
    _child(call("clone3", struct.pack("<QQQQQQQQ", 0, 0, 0, 0, signal.SIGCHLD, 0, 0, 0), 64))


@probe("clone a process that shares memory but is none of our threads", harmless=False)
def _(w):
    call("clone", 0x100 | 0x4000 | signal.SIGCHLD, 0, 0, 0, 0)


# The kernel


@probe("mount", harmless=False)
def _(w):
    call("mount", b"none", b"/mnt", b"tmpfs", 0, None)


@probe("mount by the newer calls", harmless=False)
def _(w):
    call("fsopen", b"tmpfs", 0)


@probe("clone a mount", harmless=False)
def _(w):
    call("open_tree", AT_FDCWD, b"/", 1)


@probe("unmount", harmless=False)
def _(w):
    call("umount2", os.fsencode(os.getcwd()), 2)


@probe("change the root", harmless=False)
def _(w):
    os.chroot(".")


@probe("a user namespace", harmless=False)
def _(w):
    call("unshare", 0x10000000)


@probe("a user namespace by clone", harmless=False)
def _(w):
    _child(call("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0))


@probe("enter another's namespace", harmless=False)
def _(w):
    call("setns", os.open("/proc/self/ns/net", os.O_RDONLY), 0)


@probe("keys of the kernel", harmless=True)
def _(w):
    call("keyctl", 0, -3, 1, 0, 0)


@probe("add a key", harmless=False)
def _(w):
    call("add_key", b"user", b"modelwright", b"x", 1, -3)


@probe("bpf", harmless=True)
def _(w):
    os.close(call("bpf", 0, struct.pack("<IIII", 2, 4, 4, 1) + bytes(112), 128))


@probe("io_uring", harmless=True)
def _(w):
    os.close(call("io_uring_setup", 1, ctypes.create_string_buffer(120)))


@probe("perf events", harmless=True)
def _(w):
    attributes = struct.pack("<IIQ", 1, 128, 1) + bytes(112)
    os.close(call("perf_event_open", attributes, 0, -1, -1, 0))


@probe("load a module", harmless=False)
def _(w):
    call("init_module", b"", 0, b"")


@probe("load another kernel", harmless=False)
def _(w):
    call("kexec_load", 0, 0, None, 0)


@probe("userfaultfd", harmless=True)
def _(w):
    os.close(call("userfaultfd", 0))


@probe("userfaultfd by its device")
def _(w):
    opened("/dev/userfaultfd", os.O_RDWR)


@probe("the kernel's log", harmless=True)
def _(w):
    call("syslog", 3, ctypes.create_string_buffer(64), 64)


@probe("set the clock", harmless=False)
def _(w):
    call("clock_settime", 0, struct.pack("<qq", 0, -1))


@probe("another personality", harmless=False)
def _(w):
    call("personality", 0x0040000)


@probe("a call newer than the filter", harmless=False)
def _(w):
    raw(999)


@probe("shared memory that stays", harmless=False)
def _(w):
    call("shmget", 0, 4096, 0o1600)


@probe("semaphores that stay", harmless=False)
def _(w):
    call("semget", 0, 1, 0o1600)


@probe("a message queue that stays", harmless=False)
def _(w):
    call("msgget", 0, 0o1600)


@probe("a named message queue", harmless=False)
def _(w):
    call("mq_open", b"modelwright-probe", os.O_RDWR | os.O_CREAT, 0o600, None)


@probe("memory that no limit counts", harmless=True)
def _(w):
    os.close(os.memfd_create("hog"))


@probe("secret memory", harmless=True)
def _(w):
    os.close(call("memfd_secret", 0))


# Itself


@probe("a higher limit", harmless=False)
def _(w):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard + 1, hard + 1))


@probe("core dumps again", harmless=False)
def _(w):
    resource.setrlimit(resource.RLIMIT_CORE, (4096, 4096))


@probe("be traceable again", harmless=True)
def _(w):
    if LIBC.prctl(4, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "refused")


@probe("outlive the parent", harmless=False)
def _(w):
    if LIBC.prctl(1, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "refused")


@probe("new privileges again", harmless=False)
def _(w):
    if LIBC.prctl(38, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "refused")


@probe("become root", harmless=False)
def _(w):
    if os.getuid() == 0:
        return
    os.setuid(0)


@probe("the groups of before", harmless=False)
def _(w):
    os.setgroups([0])


@probe("a capability", harmless=False)
def _(w):
    header, wanted = struct.pack("<Ii", 0x20080522, 0), struct.pack("<6I", 1 << 21, 1 << 21, 0, 0, 0, 0)
    if LIBC.capset(header, wanted) != 0:
        raise OSError(ctypes.get_errno(), "refused")


@probe("type into a terminal", harmless=False)
def _(w):
    fcntl.ioctl(0, 0x5412, b"x")


@probe("take over a terminal", harmless=False)
def _(w):
    fcntl.ioctl(w["terminal"], 0x540E, 1)


@probe("a descriptor that was not to be kept", harmless=True)
def _(w):
    os.fstat(w["not_kept"])


@probe("write to a file that was kept for reading", harmless=True)
def _(w):
    opened(f"/proc/self/fd/{w['kept_read']}", os.O_WRONLY)


@probe("space beyond the end of a file", harmless=False)
def _(w):
    descriptor = os.open("keep-size", os.O_CREAT | os.O_RDWR, 0o600)
    call("fallocate", descriptor, 1, 0, 4 * w["file_bytes"])


@probe("a file over its limit", harmless=False)
def _(w):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    descriptor = os.open("large", os.O_CREAT | os.O_RDWR, 0o600)
    os.pwrite(descriptor, b"x", w["file_bytes"] + 1)


@probe("a lease that makes others wait", harmless=True)
def _(w):
    descriptor = os.open("leased", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)


def attempts(world):
    """What must still work: the point is to hold a model, not to break it."""
    Path("inside").write_bytes(b"x")
    os.makedirs("directory/deeper")
    moved = "directory/deeper/moved" if world["rules"] != 1 else "moved"  # the first rules knew no moving
    os.rename("inside", moved)
    os.unlink(moved)
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    os.write(world["kept_socket"], b"hello")
    os.sched_getaffinity(0)
    with open("/dev/null", "wb") as nothing:
        nothing.write(b"x")
    opened("/dev/urandom")
    for ours in socket.socketpair():
        ours.close()


def mask(world):
    """Take parts of the kernel away, as an older one, another machine or a container's filter does."""
    if world["mask"]:
        body = [step for name in world["mask"] for step in (_jump(number(name, MACHINE)), _answer(0x00050000 | 38))]
        program = b"".join([struct.pack("<HBBI", 0x20, 0, 0, 0), *body, _answer(0x7FFF0000)])
        buffer = ctypes.create_string_buffer(program, len(program))
        described = struct.pack("<HxxxxxxQ", len(program) // 8, ctypes.addressof(buffer))
        assert LIBC.prctl(38, 1, 0, 0, 0) == 0
        assert LIBC.prctl(22, 2, described, 0, 0) == 0
    if world["without"]:
        header, data = struct.pack("<Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
        assert LIBC.capget(header, data) == 0
        low, *rest = struct.unpack("<6I", data.raw)
        assert LIBC.capset(header, struct.pack("<6I", low & ~world["without"], *rest)) == 0
    if world["rules"] is not None:
        landlock.version = lambda: world["rules"]
    if world["machine"] is not None:
        platform.machine = lambda: world["machine"]
    for _ in range(world["threads_before"]):
        threading.Thread(target=threading.Event().wait, daemon=True).start()


def _jump(value):
    return struct.pack("<HBBI", 0x15, 0, 1, value)


def _answer(value):
    return struct.pack("<HBBI", 0x06, 0, 0, value)


def main(plan, report):
    world = json.loads(Path(plan).read_bytes())
    if world["user"] is not None:
        os.setgroups([])
        os.setresgid(*[world["user"]] * 3)
        os.setresuid(*[world["user"]] * 3)
    tie_to_parent(world["parent"])
    mask(world)
    held = enter(
        Confinement(
            Path(world["scratch"]),
            world["level"],
            memory_bytes=2**34,
            cpu_seconds=60,
            file_bytes=world["file_bytes"],
            keep=(report, world["kept_socket"], world["kept_read"]),
            scratch_bytes=world["scratch_bytes"],
            memory_files=world["memory_files"],
        )
    )
    confined = world["level"] != "off"
    if confined:
        attempts(world)
    answers, chosen = {}, set(PROBES) if confined else HARMLESS
    if world["only"] is not None:
        chosen = set(world["only"])
    for name, function in PROBES.items():
        if name not in chosen:
            continue
        try:
            function(world)
            answers[name] = "allowed"
        except OSError as error:
            answers[name] = errno.errorcode.get(error.errno, str(error))
        except ValueError as error:
            answers[name] = str(error)
    said = {
        "level": held.level,
        "parts": held.parts,
        "missing": held.missing,
        "answers": answers,
        "reading": sorted(READING),
    }
    os.write(report, json.dumps(said).encode())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
