"""posix_spawn(3) by way of the C library: unlike Python's own it lets go of the interpreter meanwhile.

It returns when the new process has begun its program, and for that it needs a processor. With hundreds of clients
running it waits its turn among them, and all workers, the ramp too, would wait with it. glibc and musl have the same
flags, and both objects are smaller than what is set aside for them here.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Mapping, Sequence

# only the one that waits lets go of the interpreter
_library = ctypes.PyDLL(None)
_posix_spawn = ctypes.CDLL(None).posix_spawn
_SETPGROUP, _SETSIGDEF, _SETSIGMASK = 0x02, 0x04, 0x08
_Object = ctypes.c_char * 512


class Spawner:
    """Starts programs with one environment, each as a process group of its own, with no signal blocked.

    `defaulted` are the signals whose being ignored they do not inherit.
    """

    def __init__(self, environment: Mapping[str, str], defaulted: Iterable[int]) -> None:
        self._environment = _strings(f"{name}={value}" for name, value in environment.items())
        self._attributes = _Object()
        signals = _Object()
        _check(_library.posix_spawnattr_init(self._attributes))
        _check(_library.sigemptyset(signals))
        _check(_library.posix_spawnattr_setsigmask(self._attributes, signals))
        for number in defaulted:
            _check(_library.sigaddset(signals, int(number)))
        _check(_library.posix_spawnattr_setsigdefault(self._attributes, signals))
        _check(_library.posix_spawnattr_setpgroup(self._attributes, 0))
        flags = ctypes.c_short(_SETPGROUP | _SETSIGDEF | _SETSIGMASK)
        _check(_library.posix_spawnattr_setflags(self._attributes, flags))

    def start(self, argv: Sequence[str], standard: Sequence[int]) -> int:
        """The pid of argv[0], a path, with these descriptors as its 0, 1 and 2; OSError where it cannot be started."""
        words, actions, pid = _strings(argv), _Object(), ctypes.c_int()
        _check(_library.posix_spawn_file_actions_init(actions))
        try:
            for number, descriptor in enumerate(standard):
                _check(_library.posix_spawn_file_actions_adddup2(actions, descriptor, number))
            _check(
                _posix_spawn(ctypes.byref(pid), words[0], actions, self._attributes, words, self._environment)
            )
        finally:
            _library.posix_spawn_file_actions_destroy(actions)
        return pid.value


def _strings(words: Iterable[str]) -> ctypes.Array[ctypes.c_char_p]:
    """An array as argv and envp are, with a null at its end."""
    encoded = [os.fsencode(word) for word in words]
    return (ctypes.c_char_p * (len(encoded) + 1))(*encoded, None)


def _check(error: int) -> None:
    if error:
        raise OSError(error, os.strerror(error))
