"""posix_spawn(3) of the C library, called without the GIL. Python's `os.posix_spawn` holds the GIL during the call.

posix_spawn returns when the new process runs its program, and for that the process needs a core. With hundreds of
clients running this takes a while; with the GIL held, the driver and all workers would wait too.
The values of the flags are those of glibc and musl. `_Object` is larger than the structures of both.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable, Mapping, Sequence

# PyDLL keeps the GIL during a call, CDLL releases it; only posix_spawn itself takes long enough to release it.
_library = ctypes.PyDLL(None)
_posix_spawn = ctypes.CDLL(None).posix_spawn
_SETPGROUP, _SETSIGDEF, _SETSIGMASK = 0x02, 0x04, 0x08
_Object = ctypes.c_char * 512


class Spawner:
    """Starts programs with one environment. Each program is its own process group and has no signal blocked.

    `defaulted` are the signals that a program starts with at their default action, even if this process ignores them.
    Raises OSError if the C library cannot set this up.
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
        """Starts argv[0], a path, and returns its pid. `standard` are the descriptors for its stdin, stdout and stderr.

        Raises OSError if it cannot be started.
        """
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
    """Returns an array in the form of argv and envp: pointers to strings, with a null pointer at the end."""
    encoded = [os.fsencode(word) for word in words]
    return (ctypes.c_char_p * (len(encoded) + 1))(*encoded, None)


def _check(error: int) -> None:
    if error:
        raise OSError(error, os.strerror(error))
