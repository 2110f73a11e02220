"""A checkout's own code: no network, no secrets, nothing written, nothing left behind; with name spaces and without."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from living import gone, processes
from small import SMALL

import bridge_args
from bridge_args.checkout import ask
from bridge_args.cli.main import main
from bridge_args.megatron_lm.resolvers import of_checkout

FORK = Path(__file__).parents[1] / "fork"
ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="isolation is Linux's")

# Tries everything when it is imported; what came of it is in the message of the exception.
ATTACKS = """
import ctypes, json, os, socket, subprocess, sys
told = {}
def tries(name):
    def run(attack):
        try:
            told[name] = attack()
        except BaseException as error:
            told[name] = "refused: " + type(error).__name__
    return run

@tries("udp")
def _():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.sendto(b"x", ("127.0.0.1", PORT)); s.sendto(b"x", ("ADDRESS", PORT))
@tries("tcp")
def _():
    socket.create_connection(("127.0.0.1", PORT), 2)
@tries("udp of a child")
def _():
    subprocess.run(["bash", "-c", "echo hi > /dev/udp/127.0.0.1/PORT; echo hi > /dev/udp/ADDRESS/PORT"], timeout=20)
@tries("tcp of a child")
def _():
    return subprocess.run(["bash", "-c", "echo hi > /dev/tcp/127.0.0.1/PORT"], timeout=20).returncode
@tries("name")
def _():
    return socket.getaddrinfo("localhost", 80) and None
@tries("daemon")
def _():
    socket.socket(socket.AF_UNIX).connect("FOLDER/daemon")
@tries("machine")
def _():
    socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM).close()
@tries("variables")
def _():
    return sorted(os.environ)
@tries("values")
def _():
    return "hush" in json.dumps(dict(os.environ))
@tries("variables of the parent")
def _():
    seen = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                seen.append(b"hush" in open(f"/proc/{name}/environ", "rb").read())
            except OSError:
                pass
    return any(seen)
@tries("signal")
def _():
    os.kill(PARENT, 10)
for place in ("FOLDER/outside", "FOLDER/checkout/inside", "/tmp/bridge_args_test_written", "/dev/shm/bridge_args_test"):
    @tries("write " + place)
    def _():
        open(place, "w").write("x")
@tries("write by a child")
def _():
    return subprocess.run(["sh", "-c", "echo x > FOLDER/outside"], timeout=20, stderr=-3).returncode
@tries("remove")
def _():
    os.unlink("FOLDER/precious")
@tries("cut")
def _():
    os.truncate("FOLDER/precious", 0)
@tries("move")
def _():
    os.rename("FOLDER/precious", "FOLDER/gone")
@tries("link")
def _():
    os.symlink("/etc", "FOLDER/link")
@tries("permissions")
def _():
    os.chmod("FOLDER/precious", 0)
@tries("mount")
def _():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"none", b"/", None, 32 | 4096, None) and libc.umount2(b"FOLDER", 2):
        raise OSError
    return "done"
@tries("capabilities")
def _():
    return [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapPrm", "CapBnd"))]
@tries("own folder")
def _():
    open(os.path.join(os.environ["TMPDIR"], "mine"), "w").write("x")
    return open(os.path.expanduser("~/mine")).read()
subprocess.Popen(["setsid", "sleep", "300"], env={**os.environ, "MARK_OF_TEST": "FOLDER"})
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execve("/bin/sleep", ["sleep", "300"], {"MARK_OF_TEST": "FOLDER"})
    os._exit(0)
raise RuntimeError(json.dumps(told))
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "checkout"
    (folder / "megatron" / "core").mkdir(parents=True)
    (folder / "megatron" / "core" / "package_info.py").write_text("MAJOR = 0\nMINOR = 16\nPATCH = 1\n")
    return folder


class Heard:
    """Listens for datagrams and connections on all addresses of this machine."""

    def __init__(self, folder: Path) -> None:
        self.sockets = [
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
            socket.socket(socket.AF_INET),
            socket.socket(socket.AF_UNIX),
        ]
        self.sockets[0].bind(("", 0))
        self.port = self.sockets[0].getsockname()[1]
        self.sockets[1].bind(("", self.port))
        self.sockets[2].bind(str(folder / "daemon"))
        for one in self.sockets[1:]:
            one.listen()
        for one in self.sockets:
            one.setblocking(False)

    def anything(self) -> list[str]:
        found = []
        for name, one in zip(("udp", "tcp", "unix"), self.sockets, strict=True):
            try:
                one.recv(10) if name == "udp" else one.accept()
                found.append(name)
            except BlockingIOError:
                pass
            one.close()
        return found


def address() -> str:
    """An address of this machine that is not the loopback's, where it has one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


WITHOUT = """
import sys
from bridge_args.checkout import sandbox
sandbox._name_spaces = lambda: False
sys.exit(sandbox.main(sys.argv[1:]))
"""


@pytest.fixture(params=["with name spaces", "without"])
def spaces(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(ask, "_missing", set())
    ask.catalog_of(FORK)
    if request.param == "with name spaces":
        if ask._missing:
            pytest.skip(f"this system lacks {sorted(ask._missing)}")
        return True
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "without_spaces.py").write_text(WITHOUT)
    monkeypatch.syspath_prepend(str(tmp_path / "modules"))
    monkeypatch.setattr(ask, "_MODULE", "without_spaces")
    ask.catalog_of(FORK)
    if ask._missing != {"name spaces"}:
        pytest.skip(f"this system lacks {sorted(ask._missing)}")
    return False


def test_what_a_checkout_tries_comes_to_nothing(
    checkout: Path, tmp_path: Path, spaces: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_SECRET", "hush")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    (tmp_path / "precious").write_text("precious")
    heard = Heard(tmp_path)
    text = ATTACKS.replace("FOLDER", str(tmp_path)).replace("PORT", str(heard.port)).replace("ADDRESS", address())
    (checkout / "pretrain_gpt.py").write_text(text.replace("PARENT", str(os.getpid())))
    signalled: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: signalled.append(number))
    names = sorted(path.name for path in tmp_path.rglob("*"))
    try:
        with pytest.raises(ask.CheckoutError) as caught:
            ask.catalog_of(checkout)
        told: dict[str, Any] = json.loads(str(caught.value).partition("RuntimeError: ")[2].rpartition(" (")[0])
        assert gone(f"MARK_OF_TEST={tmp_path}")
        assert heard.anything() == [] and signalled == []
    finally:
        signal.signal(signal.SIGUSR1, before)
        for one in processes(f"MARK_OF_TEST={tmp_path}"):
            os.kill(one, signal.SIGKILL)
    refused = {name: value for name, value in told.items() if str(value).startswith("refused: ")}
    must = {"tcp", "daemon", "machine", "remove", "cut", "move", "link", "signal", "mount"}
    must |= {name for name in told if name.startswith("write /") and "shm" not in name}
    assert must <= refused.keys(), told
    assert told["tcp of a child"] != 0 and told["write by a child"] != 0
    assert (told["values"], told["variables of the parent"], told["own folder"]) == (False, False, "x")
    assert not [name for name in told["variables"] if "SECRET" in name]
    assert set(told["capabilities"]) == {"0" * 16}
    assert (tmp_path / "precious").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.rglob("*")) == names
    assert not Path("/tmp/bridge_args_test_written").exists() and not Path("/dev/shm/bridge_args_test").exists()


def test_where_the_system_isolates_less_it_is_said(checkout: Path, spaces: bool) -> None:
    del checkout
    t = bridge_args.translate(SMALL, world_size=1, megatron_lm=str(FORK))
    said = [str(finding) for finding in t.findings if "isolates less" in str(finding)]
    assert bool(said) is not spaces
    assert spaces or "leave processes behind" in said[0]
    assert t.errors == ()


HUNGRY = {
    "memory": "x = bytearray(1 << 36)",
    "a file": "import os; f = open(os.path.expanduser('~/x'), 'wb'); [f.write(bytes(1 << 24)) for _ in range(1 << 10)]",
    "a long answer": "import sys; sys.stdout.write('x' * (1 << 22)); raise OSError('x' * (1 << 20))",
    "an end": "import os; os._exit(0)",
    "a crash": "import os; os.abort()",
    "its own answer": "import sys; open(sys.orig_argv[-1], 'w').write('[[[[\\n'); import os; os._exit(0)",
    "a pipe for an answer": "import os, sys; a = sys.orig_argv[-1]; os.unlink(a); os.mkfifo(a); os._exit(0)",
    "a link for an answer": "import os, sys; a = sys.orig_argv[-1]; os.unlink(a); os.symlink('/etc', a); os._exit(0)",
    "strange shapes": "import os, sys; open(sys.orig_argv[-1], 'w').write('{\"error\": [1]}\\n'); os._exit(0)",
    "no catalog": "import os, sys; open(sys.orig_argv[-1], 'w').write('{\"arguments\": 7}\\n'); os._exit(0)",
    "a deep answer": "import os, sys; open(sys.orig_argv[-1], 'w').write('[' * 100000 + '\\n'); os._exit(0)",
    "not text": "import os, sys; open(sys.orig_argv[-1], 'wb').write(b'\\xff\\x00\\n'); os._exit(0)",
}


@pytest.mark.parametrize("name", HUNGRY)
def test_a_checkout_that_does_strange_things_cannot_be_asked(
    checkout: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "pretrain_gpt.py").write_text(HUNGRY[name])
    assert main(["translate", "--megatron-lm", str(checkout), "--", *SMALL]) == 1
    said = capsys.readouterr().err
    assert "cannot be asked" in said or "cannot be read" in said
    assert len(said) < 1 << 21


def test_a_checkout_that_takes_too_long_is_ended(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "START_SECONDS", -58.0)
    (checkout / "pretrain_gpt.py").write_text(
        f"import subprocess\nsubprocess.Popen(['setsid', 'sleep', '300'], env={{'MARK_OF_TEST': {str(checkout)!r}}})\n"
        "while True: pass\n"
    )
    with pytest.raises(ask.CheckoutError, match="gave no answer in 2 seconds"):
        ask.catalog_of(checkout)
    assert gone(f"MARK_OF_TEST={checkout}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_the_program_that_asks(checkout: Path, number: signal.Signals) -> None:
    (checkout / "pretrain_gpt.py").write_text(
        "import os, subprocess, time\n"
        f"subprocess.Popen(['setsid', 'sleep', '300'], env={{'MARK_OF_TEST': {str(checkout)!r}}})\ntime.sleep(300)\n"
    )
    program = f"from bridge_args.checkout import ask; ask.catalog_of({str(checkout)!r})"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", program], env=env, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not list(processes(f"MARK_OF_TEST={checkout}")):
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(number)
        process.wait(60)
        assert gone(f"MARK_OF_TEST={checkout}")
    finally:
        process.kill()
        for one in processes(f"MARK_OF_TEST={checkout}"):
            os.kill(one, signal.SIGKILL)


# What is kept --------------------------------------------------------------------------------------------------------

GOOD = json.dumps({"arguments": [{"flags": ["--a"], "dest": "a", "action": "store"}], "program_defaults": {}})
SHAPES: dict[str, str | bytes] = {
    "empty": "",
    "no mapping": "[]",
    "nothing in it": "{}",
    "a number": "7",
    "null": "null",
    "cut off": GOOD[:40],
    "arguments are no list": '{"arguments": {}, "program_defaults": {}}',
    "an argument is a text": '{"arguments": ["x"], "program_defaults": {}}',
    "an argument without flags": '{"arguments": [{}], "program_defaults": {}}',
    "flags are numbers": GOOD.replace('"--a"', "1"),
    "flags are a text": GOOD.replace('["--a"]', '"--a"'),
    "a dest is a list": GOOD.replace('"dest": "a"', '"dest": []'),
    "choices are a number": GOOD.replace('"dest"', '"choices": 3, "dest"'),
    "choices are lists": GOOD.replace('"dest"', '"choices": [[1]], "dest"'),
    "a type is a mapping": GOOD.replace('"dest"', '"type": {}, "dest"'),
    "defaults are a list": GOOD.replace('"program_defaults": {}', '"program_defaults": []'),
    "an odd value": GOOD.replace('"dest"', '"default": {"$tuple": 3}, "dest"'),
    "an odd symbol": GOOD.replace('"dest"', '"default": {"$symbol": [1]}, "dest"'),
    "deep": "[" * 200_000,
    "not text": b"\xff\xfe\x00",
    "null bytes": b"\x00" * 100,
}


def kept_file(folder: Path) -> Path:
    """Where the catalog of the fork is kept, by having it asked once."""
    of_checkout.catalog_of(str(FORK), "pretrain_gpt.py")
    (file,) = (folder / "bridge_args").iterdir()
    return file


@pytest.fixture(scope="module")
def asked_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Name and text of the file that is kept for the fork."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("XDG_CACHE_HOME", str(folder))
        file = kept_file(folder)
    return file.name, file.read_text()


@pytest.mark.parametrize("name", SHAPES)
def test_an_odd_file_is_asked_for_anew(
    name: str, asked_once: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = tmp_path / "bridge_args" / asked_once[0]
    file.parent.mkdir()
    shape = SHAPES[name]
    file.write_bytes(shape if isinstance(shape, bytes) else shape.encode())
    catalog = of_checkout.catalog_of(str(FORK), "pretrain_gpt.py")
    assert "router_noise" in catalog.defaults
    if not name.startswith("an odd"):
        assert file.read_text() == asked_once[1]


@pytest.mark.parametrize("kind", ["pipe", "folder", "link", "link to nothing", "file in place of the folder", "device"])
def test_what_is_no_file_is_left_alone(
    kind: str, asked_once: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file, other = tmp_path / "bridge_args" / asked_once[0], tmp_path / "other"
    if kind != "file in place of the folder":
        file.parent.mkdir()
    other.write_text("mine")
    match kind:
        case "pipe":
            os.mkfifo(file)
        case "folder":
            file.mkdir()
        case "link":
            file.symlink_to(other)
        case "link to nothing":
            file.symlink_to(tmp_path / "nothing")
        case "device":
            file.symlink_to("/dev/zero")
        case _:
            file.parent.write_text("mine")
    done: list[object] = []
    thread = threading.Thread(
        target=lambda: done.append(of_checkout.catalog_of(str(FORK), "pretrain_gpt.py")), daemon=True
    )
    thread.start()
    thread.join(120)
    assert done and other.read_text() == "mine" and not (tmp_path / "nothing").exists()


def test_nobody_needs_a_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert ask.cache_folder() is None
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert ask.cache_folder() is None
    assert "router_noise" in of_checkout.catalog_of(str(FORK), "pretrain_gpt.py").defaults
