"""``python -I begin.py MODULE WORDS…``: how every process of ours starts; ``children.command`` makes that command.

Runs a module as ``python -m`` does, but nothing of the current folder, and nothing that an environment variable names,
can stand in for a module of Python's or of ours. The process ends when the one that has started it ends, and so do the
processes that it forks. Two variables tell what the command cannot: ``BRIDGE_ARGS_PATH``, folders to import from, and
``BRIDGE_ARGS_PARENT``, the number of the process that has started this one.

Python 3.10 has no ``-P``; ``-I`` does it there. Little is imported before the folders are put right.
"""

import os
import sys

_SET_SIGNAL_AT_PARENTS_DEATH = 1  # PR_SET_PDEATHSIG, prctl(2)


def main() -> None:
    """See the module's text."""
    end_with(int(os.environ.get("BRIDGE_ARGS_PARENT", os.getppid())))
    os.environ["BRIDGE_ARGS_PARENT"] = str(os.getpid())
    os.register_at_fork(before=_forking, after_in_child=_forked)
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    _import_from(os.environ.get("BRIDGE_ARGS_PATH", "").split(os.pathsep), package)
    _take_package(package)
    import runpy

    module, *words = sys.argv[1:]
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def end_with(parent: int) -> None:
    """This process is killed as soon as its parent ends, however that ends; at once where it has ended already.

    On Linux the system does so when the thread ends that has started this process; elsewhere a thread looks every
    second.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_SET_SIGNAL_AT_PARENTS_DEATH, 9)
        if os.getppid() != parent:
            os._exit(1)
    else:
        import threading

        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _watch(parent: int) -> None:
    import time

    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


_forker = [0]  # the process that forks, for the one that is forked


def _forking() -> None:
    _forker[0] = os.getpid()


def _forked() -> None:
    """A process that this one has forked, for reading data or writing a checkpoint, ends with it."""
    import threading

    if sys.platform == "linux" and threading.current_thread() is threading.main_thread():
        import ctypes

        ctypes.CDLL(None).prctl(_SET_SIGNAL_AT_PARENTS_DEATH, 9)
        # It has ended before. 0 is no process: the first one of a name space of processes has its parent outside.
        if os.getppid() not in (_forker[0], 0):
            os._exit(1)


def importable(named: list[str]) -> list[str]:
    """Folders that this process imports from, without the current one, unless that is named by its whole path."""
    try:
        here = os.path.realpath(os.getcwd())
    except OSError:  # the folder is gone
        here = ""
    return [path for path in sys.path if os.path.isabs(path) and (path in named or os.path.realpath(path) != here)]


def _import_from(folders: list[str], package: str) -> None:
    """Python's own modules first, then what the process that has started this one imports from, then this package."""
    import sysconfig

    own = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    standard = [path for path in sys.path if path in own or _is_standard(path, own)]
    wanted = [path for path in folders if os.path.isabs(path) and path not in standard]
    rest = [path for path in sys.path if path not in standard and path not in wanted]
    sys.path[:] = list(dict.fromkeys([*standard, *wanted, *rest, package]))
    import site

    home = site.getusersitepackages() if site.ENABLE_USER_SITE is False else ""
    if home in wanted:  # its .pth files are read only where Python is not isolated, and the other process was not
        site.addsitedir(home)


def _is_standard(path: str, own: set[str]) -> bool:
    name = os.path.basename(path)
    return os.path.dirname(path) in own | {os.path.dirname(one) for one in own} and (
        name == "lib-dynload" or (name.startswith("python") and name.endswith(".zip"))
    )


def _take_package(package: str) -> None:
    """This package, and not another of that name that may be installed as well."""
    from importlib.util import module_from_spec, spec_from_file_location

    folder = os.path.join(package, "bridge_args")
    spec = spec_from_file_location(
        "bridge_args", os.path.join(folder, "__init__.py"), submodule_search_locations=[folder]
    )
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["bridge_args"] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    main()
